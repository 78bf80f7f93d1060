"""All commands without a screen print what the transcripts in this folder say, byte for byte.

`uv run python tests/transcripts/write.py [FILE ...]` writes the transcripts anew. `support.transcripts` has the format.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given, strategies
from support.parsers import options_of, parsers
from support.transcripts import Command, Section, command_of, escaped, transcripts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

TRANSCRIPTS: Final = transcripts()
SECTIONS: Final = [
    pytest.param(section, id=f"{name}: {section.title}")
    for name, sections in TRANSCRIPTS.items()
    for section in sections
    if section.commands
]
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "without-a-screen.md"


@pytest.mark.skipif(sys.platform != "linux", reason="folders and the words of errors are those of Linux")
@pytest.mark.parametrize("section", SECTIONS)
def test_every_command_prints_the_bytes_of_the_transcript(section: Section) -> None:
    lines = difflib.unified_diff(section.lines, section.played(), "transcript", "present output", n=9, lineterm="")
    if differences := "\n".join(lines):
        pytest.fail(
            f"{differences}\n\n`uv run python tests/transcripts/write.py` writes the present output", pytrace=False
        )


_ESCAPE: Final = re.compile(r"\\(?:\\|x(..)|u(....)|U(........))")


def _unescaped(lines: Sequence[str]) -> bytes:
    """Return the output whose lines were escaped."""

    def character(match: re.Match[str]) -> str:
        byte, *wide = match.groups()
        if byte is not None:
            return bytes.fromhex(byte).decode(errors="surrogateescape")
        return next((chr(int(code, 16)) for code in wide if code is not None), "\\")

    text = "".join(f"{line}\n" for line in lines)
    if re.search(r"(?<!\\)(\\\\)*\\\n\Z", text):
        text = text.removesuffix("\\\n")
    return _ESCAPE.sub(character, text).encode(errors="surrogateescape")


@given(strategies.binary() | strategies.text().map(str.encode))
@example(b"a \n\\x20\n\xff\xc3\xbf\x1b[0m\xe2\x80\xae\n\\")
def test_escapes_lose_no_byte_and_leave_nothing_invisible(output: bytes) -> None:
    lines = escaped(output)
    assert all(line.isprintable() and line == line.rstrip() for line in lines)
    assert _unescaped(lines) == output


def _commands() -> list[Command]:
    lines = [line for sections in TRANSCRIPTS.values() for section in sections for line in section.commands]
    return [command for line in lines if (command := command_of(line)).words[0] == "envwatch"]


def _given(words: Sequence[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each option of a command line with the command, or with the command and action, before the option."""
    command = next((word for word in words if word in known), "dashboard")
    yield command, ""
    for word in words:
        if f"{command} {word}" in known:
            command = f"{command} {word}"
            yield command, ""
        elif word.startswith("-"):
            yield command, word.partition("=")[0]


def test_every_command_and_every_option_stands_in_a_transcript() -> None:
    known = parsers()
    given = {each for command in _commands() for each in _given(command.words[1:], known)}
    wanted = {(name, option) for name, parser in known.items() for option in ("", *options_of(parser))}
    assert wanted - given == set()


def test_every_documented_exit_code_stands_in_a_transcript() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    lines = {line for sections in TRANSCRIPTS.values() for section in sections for line in section.lines}
    assert {code for code in documented if code != "0" and f"exit {code}" not in lines} == set()
    assert "0" in documented
