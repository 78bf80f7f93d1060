"""Programs that tests start: a forked program cannot detect the fork, and the emulated terminal shows what it should.

The terminal, which reads changed lines only, is compared with the library's screen.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyte
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import programs
from support.fork_server import Forked, starts_alike
from support.pty_terminal import ROOT, ChangedScreen, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOKS_AT_ITSELF = """
import json, locale, os, resource, signal, sys, time
from pathlib import Path
seen = {
    "arguments": sys.argv[1:],
    "environ": dict(os.environ),
    "folder": str(Path.cwd()),
    "zone": time.tzname,
    "leads session": os.getsid(0) == os.getpid(),
    "memory": resource.getrlimit(resource.RLIMIT_AS),
    "descriptors": [fd for fd in range(256) if Path(f"/dev/fd/{fd}").exists()],
    "controlling terminal": os.tcgetpgrp(0) == os.getpgrp() if os.isatty(0) else None,
    "signals": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "locale": locale.getpreferredencoding(),
}
for name in ("stdin", "stdout", "stderr"):
    stream = getattr(sys, name)
    same = stream is getattr(sys, f"__{name}__")
    seen[name] = [stream.encoding, stream.errors, stream.line_buffering, stream.isatty(), stream.fileno(), same]
sys.stdout.write(json.dumps(seen))
sys.exit(7)
"""
"""A script that prints its view of itself as JSON."""
REAL = "/usr/bin/env"
"""A command that the server does not know, and that starts a program."""
ENVWATCH = (sys.executable, "-m", "envwatch")


@pytest.fixture
def ours(tmp_path: Path) -> tuple[str, ...]:
    script = tmp_path / "looks_at_itself.py"
    script.write_text(LOOKS_AT_ITSELF)
    return (sys.executable, str(script), "one", "two words")


def seen_by(command: tuple[str, ...], home: Path) -> dict[str, Any]:
    ended = programs.run(command, environment(home, TZ="Asia/Tokyo", MORE="é"), folder=home, memory=4 << 30)
    assert (ended.returncode, ended.stderr) == (7, b"")
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def seen_in_terminal(command: tuple[str, ...], home: Path) -> dict[str, Any]:
    with Terminal(command, environment(home), columns=500, lines=40) as terminal:
        assert terminal.wait_for_end() == 7
        return json.loads(terminal.received)  # type: ignore[no-any-return]


def test_a_forked_program_sees_what_a_started_program_sees(ours: tuple[str, ...], tmp_path: Path) -> None:
    assert starts_alike(ours, environment(tmp_path))
    assert not starts_alike((REAL, *ours), environment(tmp_path))
    assert seen_by(ours, tmp_path) == seen_by((REAL, *ours), tmp_path)
    forked = seen_in_terminal(ours, tmp_path)
    assert forked == seen_in_terminal((REAL, *ours), tmp_path)
    assert forked["controlling terminal"] is True


def test_an_end_reported_together_with_the_start_is_one() -> None:
    status, writes = os.pipe()
    os.write(writes, b"123\n7\n")
    os.close(writes)
    program = Forked(status)
    assert (program.pid, program.poll(), program.wait()) == (123, 7, 7)


def test_a_signal_at_the_end_is_the_exit_code(tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGUSR1):
        with Terminal.of_envwatch(home=tmp_path, environ={"LETTA_BASE_URL": "http://127.0.0.1:9"}) as terminal:
            terminal.wait_for("API key")
            with pytest.raises(subprocess.TimeoutExpired):
                terminal.process.wait(0)
            assert terminal.process.poll() is None
            terminal.send_signal(number)
            assert terminal.process.wait(60) == terminal.process.returncode == -number


ENDING = """
import atexit, logging, sys, threading

class Last:
    def __del__(self):
        sys.stderr.write("deleted\\n")

def say_goodbye():
    import fractions
    print(fractions.Fraction(1, 2), logging.getLevelName(10))

last = [Last()]
last.append(last)
atexit.register(say_goodbye)
threading.Timer(0.1, print, ["from a thread"]).start()
left = open("left", "w")
left.write("not flushed")
1 / 0
"""


def test_an_error_ends_a_forked_program_as_a_started_one(tmp_path: Path) -> None:
    script = tmp_path / "ending.py"
    script.write_text(ENDING)

    def ended(command: tuple[str, ...]) -> tuple[int, bytes, list[bytes], str]:
        done = programs.run(command, environment(tmp_path), folder=tmp_path)
        left = tmp_path / "left"
        errors = [line for line in done.stderr.splitlines() if not line.startswith(b"  ")]
        return done.returncode, done.stdout, errors, left.read_text()

    ours = (sys.executable, str(script))
    assert ended(ours) == ended((REAL, *ours))
    code, out, errors, left = ended(ours)
    assert (code, out, left) == (1, b"from a thread\n1/2 DEBUG\n", "not flushed")
    assert {b"deleted", b"ZeroDivisionError: division by zero"} <= set(errors)


ENDS = """
import atexit, os, sys, threading

class Left:
    def __init__(self):
        self.itself = self

    def __del__(self):
        os.write(2, b"destroyed\\n")

atexit.register(os.write, 2, b"called\\n")
threading.Thread(target=lambda: (threading.main_thread().join(), os.write(2, b"waited for\\n"))).start()

def main():
    left = Left()
    {end}

print("written")
main()
"""


@pytest.mark.parametrize(
    "end", ["pass", "sys.exit()", "sys.exit(3)", "sys.exit('why')", "sys.stdout.close()", "os.close(1)"]
)
def test_a_forked_program_ends_as_a_started_program_does(end: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDS.format(end=end))
    commands = (sys.executable, str(script)), (REAL, sys.executable, str(script))
    forked, real = (programs.run(command, environment(tmp_path)) for command in commands)
    assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
    assert forked.stderr == real.stderr
    assert {b"waited for", b"called", b"destroyed"} <= {*forked.stderr.splitlines()}


def test_a_forked_program_prints_the_help_of_the_same_program(tmp_path: Path) -> None:
    commands = (*ENVWATCH, "--help"), (REAL, *ENVWATCH, "--help")
    forked, real = (programs.run(command, environment(tmp_path)) for command in commands)
    assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
    assert re.search(rb"usage: envwatch", forked.stdout)


@pytest.mark.parametrize(
    "more",
    [{"LC_ALL": "C"}, {"PYTHONDEVMODE": "1"}, {"PYTHONUNBUFFERED": "1"}, {"TEXTUAL_FPS": "1"}, {"LD_PRELOAD": "x.so"}],
)
def test_a_variable_for_the_start_of_python_needs_a_real_start(more: Mapping[str, str], tmp_path: Path) -> None:
    usual = environment(tmp_path)
    assert starts_alike(ENVWATCH, usual)
    assert not starts_alike(ENVWATCH, {**usual, **more})
    assert not starts_alike((sys.executable, "-c", "0"), usual)
    assert not starts_alike((str(ROOT / "other"), "-m", "envwatch"), usual)


# -- the emulated terminal ---------------------------------------------------------------------------------------------
TEXT = ["abc", "x" * 13, "漢字", "\U0001f469x", "\u0301", "●", "\n", "\r", "\b"]
MOVES = [f"\x1b[{line};{column}H" for line in (1, 3, 5) for column in (1, 4, 10)]
CHANGES = ["[2J", "[K", "[1K", "[J", "[L", "[M", "[2P", "[3@", "[4X", "M", "[2;4r", "#8", "[?5h", "c"]
SIZES = [(5, 10), (4, 10), (5, 7), (6, 12)]

pieces = st.sampled_from([*TEXT, *MOVES, *(f"\x1b{change}" for change in CHANGES), *SIZES])


@example([("x" * 13, True), ("\r", True), ("\u0301", True)])
@given(st.lists(st.tuples(pieces, st.booleans()), max_size=40))
def test_the_text_of_changed_lines_is_the_text_of_the_screen(steps: list[tuple[str | tuple[int, int], bool]]) -> None:
    screen = ChangedScreen(10, 5)
    stream = pyte.Stream(screen)
    for piece, is_read in steps:
        if isinstance(piece, tuple):
            screen.resize(*piece)
        else:
            stream.feed(piece)
        if is_read:
            try:
                whole = pyte.Screen.display.fget(screen)  # type: ignore[attr-defined]
            except IndexError:  # half a wide character is left
                assume(False)
            assert screen.display == whole
