"""Transcripts: command lines with the exact output, as text.

A file has sections. Each section begins with `## TITLE`, has a separate home and these lines:

    fleet NAME              the scripted fleet (`transcript_fleets`) of the commands that follow
    history NAME            the recorded past (`transcript_past`) of the home
    file PATH               a file in the home; its lines follow, each after `> `
    $ envwatch list         a command line
    | STATE  SEEN  NAME     a line of standard output
    ! 3 machines …      a line of standard error
    exit 3                  the exit code, unless 0

Words before `envwatch` are variables (`NO_COLOR=1`; an empty value removes the variable) or settings of the runner:

    at=+2h                  a later moment
    terminal=60             standard output is a terminal of 60 columns
    reader=gone             standard output is a pipe without a reader
    signal=INT              the program gets a signal after 7 s

`$KEY` is the accepted key. `| head -5`, `| grep WORD` and `| grep -v WORD` keep some lines. `cat FILE` prints a file.
Control characters, bytes outside UTF-8 and trailing blanks are escaped as in Python. A line that ends with a single
backslash has no line feed. A negative exit code is the number of the signal that ended the program.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import tempfile
import termios
import tty
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Final, NamedTuple

from support import fork_server
from support.faulty_server import KEY
from support.programs import TIMEOUT_S
from support.transcript_fleets import STARTED
from support.transcript_past import write_past

from envwatch import __version__
from envwatch.config.values import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER: Final = Path(__file__).resolve().parents[1] / "transcripts"
PROGRAM: Final = str(Path(__file__).with_name("frozen_program.py"))

_VARIABLES: Final = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "LETTA_API_KEY": KEY,
    "LETTA_BASE_URL": "http://127.0.0.1:8283",
}
_REPLACED: Final = (
    (re.compile(rb"ew-[\w-]{43}"), b"ew-TOKEN"),
    (re.compile(rb"(envwatch |version=\")%b\b" % re.escape(__version__.encode())), rb"\1VERSION"),
    (re.compile(rb"\b\d+\.\d (KiB in|MB)\b"), rb"N.N \1"),
)
"""Text that differs from run to run, besides the home's path, with the replacement."""
_ASSIGNMENT: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)
_LATER: Final = duration(0, 90 * 86_400)
_OUTPUT: Final = re.compile(r"[|!]( |$)|exit ")
_LINES: Final = 24
"""Lines of a terminal."""


class Command(NamedTuple):
    """A command line in parts."""

    words: Sequence[str]
    variables: dict[str, str]
    at_ms: float
    terminal: int | None
    """Columns of standard output."""
    ending: str
    """A signal's name, or `-`."""
    has_reader: bool
    pipe: Sequence[str]
    """A filter of the output's lines: `head -5`, `grep WORD` or `grep -v WORD`."""


@dataclass
class Section:
    """A section's lines."""

    title: str
    lines: list[str] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """The command lines, without `$ `."""
        return [line[2:] for line in self.lines if line.startswith("$ ")]

    def played(self) -> list[str]:
        """Return the lines with the present output of all commands, run in a new home."""
        with tempfile.TemporaryDirectory(prefix="envwatch-", dir="/tmp") as home:
            return [*_played([line for line in self.lines if not _OUTPUT.match(line)], Path(home))]


def sections_of(path: Path) -> list[Section]:
    """Return a file's sections; the lines before the first section have no title."""
    sections = [Section("")]
    for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        if line.startswith("## "):
            sections.append(Section(line[3:]))
        sections[-1].lines.append(line)
    return sections


def command_of(line: str) -> Command:
    """Return a command line in parts."""
    words = shlex.split(line.replace("$KEY", KEY))
    variables = dict(_VARIABLES)
    at_ms, terminal, ending, has_reader = float(STARTED), None, "-", True
    while match := _ASSIGNMENT.fullmatch(words[0]):
        name, value = match.groups()
        words.pop(0)
        match name:
            case "at":
                at_ms += _LATER(value).total_seconds() * 1000
            case "terminal":
                terminal = int(value)
            case "signal":
                ending = value
            case "reader":
                has_reader = value != "gone"
            case _ if value:
                variables[name] = value
            case _:
                del variables[name]
    pipe: list[str] = []
    if "|" in words:
        end = words.index("|")
        words, pipe = words[:end], words[end + 1 :]
    return Command(words, variables, at_ms, terminal, ending, has_reader, pipe)


def _played(lines: Sequence[str], home: Path) -> Iterator[str]:
    fleet, file = "healthy", home
    for line in lines:
        yield line
        kind, _, rest = line.partition(" ")
        match kind:
            case "fleet":
                fleet = rest
            case "history":
                write_past(rest, home)
            case "file":
                file = home / rest.removeprefix("~/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("", encoding="utf-8")
                file.chmod(0o600)
            case ">":
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(f"{rest}\n")
            case "$":
                yield from _answer(command_of(rest), fleet, home)


def transcripts() -> dict[str, list[Section]]:
    """Return the sections of all files, by the file's name without suffix."""
    return {path.stem: sections_of(path) for path in sorted(FOLDER.glob("*.txt"))}


def _answer(command: Command, fleet: str, home: Path) -> Iterator[str]:
    if command.words[0] == "cat":
        code, out, err = _file(home, command.words[1])
    else:
        assert command.words[0] == "envwatch", f"a transcript has only envwatch and cat: {command.words[0]}"
        try:
            code, out, err = _run(command, fleet, home)
        except TimeoutExpired:
            raise TimeoutError(f"does not end within {TIMEOUT_S:g} s: {shlex.join(command.words)}") from None
    out_lines = _piped(escaped(_fixed(out, home)), command.pipe)
    yield from (f"| {line}".rstrip() for line in out_lines)
    yield from (f"! {line}".rstrip() for line in escaped(_fixed(err, home)))
    if code:
        yield f"exit {code}"


def _file(home: Path, name: str) -> tuple[int, bytes, bytes]:
    """Return the exit code and the output of `cat`."""
    try:
        return 0, (home / name).read_bytes(), b""
    except OSError as error:
        return 1, b"", f"cat: {name}: {error.strerror}\n".encode()


def _piped(lines: list[str], pipe: Sequence[str]) -> list[str]:
    match [*pipe]:
        case []:
            return lines
        case ["head", number]:
            return lines[: int(number.removeprefix("-"))]
        case ["grep", "-v", pattern]:
            return [line for line in lines if not re.search(pattern, line)]
        case ["grep", pattern]:
            return [line for line in lines if re.search(pattern, line)]
    raise ValueError(f"a transcript has only head and grep: {shlex.join(pipe)}")


def _run(command: Command, fleet: str, home: Path) -> tuple[int, bytes, bytes]:
    """Run envwatch; return the exit code and both outputs."""
    words = [sys.executable, PROGRAM, fleet, f"{command.at_ms:.0f}", command.ending, *command.words[1:]]
    environ = {**command.variables, "HOME": str(home)}
    with Path(os.devnull).open("rb") as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        written = b""
        if not command.has_reader:
            closed, pipe = os.pipe()
            os.close(closed)
            process = fork_server.start(words, environ, [stdin.fileno(), pipe, err.fileno()], folder=home)
            os.close(pipe)
        elif command.terminal is None:
            process = fork_server.start(words, environ, [each.fileno() for each in (stdin, out, err)], folder=home)
        else:
            ours, theirs = _terminal(command.terminal)
            environ.setdefault("TERM", "xterm-256color")
            try:
                process = fork_server.start(words, environ, [stdin.fileno(), theirs, err.fileno()], folder=home)
            finally:
                os.close(theirs)
            with os.fdopen(ours, "rb", 0) as terminal:
                written = _read_all(terminal.fileno())
        try:
            code = process.wait(TIMEOUT_S)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return code, written or out.read(), err.read()


def _terminal(columns: int) -> tuple[int, int]:
    """Return both ends of a terminal that passes bytes on unchanged."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    tty.setraw(theirs)
    return ours, theirs


def _read_all(descriptor: int) -> bytes:
    read = b""
    with suppress(OSError):  # Linux: the program's end is closed
        while some := os.read(descriptor, 1 << 16):
            read += some
    return read


def _fixed(output: bytes, home: Path) -> bytes:
    """Return an output without the text that differs from run to run."""
    output = output.replace(os.fsencode(home), b"~")
    for pattern, replacement in _REPLACED:
        output = pattern.sub(replacement, output)
    return output


def escaped(output: bytes) -> list[str]:
    """Return the lines of an output, reversibly: each character is visible."""
    if not output:
        return []
    *lines, rest = output.decode(errors="surrogateescape").split("\n")
    return [*map(_visible, lines), *([f"{_visible(rest)}\\"] if rest else [])]


def _visible(line: str) -> str:
    text = "".join(map(_visible_character, line))
    blanks = len(text) - len(text.rstrip(" "))
    return text[: len(text) - blanks] + "\\x20" * blanks


def _visible_character(character: str) -> str:
    number = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x1_0000 else f"\\U{number:08x}"
