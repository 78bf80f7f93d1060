"""A forked program cannot detect the fork."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.fork_server import Forked, starts_alike
from support.pty_terminal import ROOT, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = str(Path(__file__).parents[1] / "support" / "introspection.py")
OURS = (sys.executable, SCRIPT, "one", "two words")
REAL = ("/usr/bin/env", *OURS)
"""The same by a command that the server does not know."""
ENVWATCH = (sys.executable, "-m", "envwatch")


def seen_by(command: tuple[str, ...], home: Path) -> dict[str, Any]:
    ended = programs.run(command, environment(home, TZ="Asia/Tokyo", MORE="é"), folder=home, memory=4 << 30)
    assert (ended.returncode, ended.stderr) == (7, b"")
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def seen_in_terminal(command: tuple[str, ...], home: Path) -> dict[str, Any]:
    with Terminal(command, environment(home), columns=500, lines=40) as terminal:
        assert terminal.wait_for_end() == 7
        return json.loads(terminal.received)  # type: ignore[no-any-return]


def test_it_sees_what_a_started_program_sees(tmp_path: Path) -> None:
    assert starts_alike(OURS, environment(tmp_path))
    assert not starts_alike(REAL, environment(tmp_path))
    assert seen_by(OURS, tmp_path) == seen_by(REAL, tmp_path)


def test_in_a_terminal_too(tmp_path: Path) -> None:
    forked = seen_in_terminal(OURS, tmp_path)
    assert forked == seen_in_terminal(REAL, tmp_path)
    assert forked["controlling terminal"] is True


def test_an_end_that_is_reported_together_with_the_start_is_one() -> None:
    status, writes = os.pipe()
    os.write(writes, b"123\n7\n")
    os.close(writes)
    program = Forked(status)
    assert (program.pid, program.poll(), program.wait()) == (123, 7, 7)


def test_a_signal_that_ends_it_is_its_exit_code(tmp_path: Path) -> None:
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


def test_it_ends_as_a_started_program_does(tmp_path: Path) -> None:
    script = tmp_path / "ending.py"
    script.write_text(ENDING)

    def ended(command: tuple[str, ...]) -> tuple[int, bytes, list[bytes], str]:
        done = programs.run(command, environment(tmp_path), folder=tmp_path)
        left = tmp_path / "left"
        errors = [line for line in done.stderr.splitlines() if not line.startswith(b"  ")]
        return done.returncode, done.stdout, errors, left.read_text()

    ours = (sys.executable, str(script))
    assert ended(ours) == ended(("/usr/bin/env", *ours))
    code, out, errors, left = ended(ours)
    assert (code, out, left) == (1, b"from a thread\n1/2 DEBUG\n", "not flushed")
    assert {b"deleted", b"ZeroDivisionError: division by zero"} <= set(errors)


def test_it_is_the_same_program(tmp_path: Path) -> None:
    commands = (*ENVWATCH, "--help"), ("/usr/bin/env", *ENVWATCH, "--help")
    forked, real = (programs.run(command, environment(tmp_path)) for command in commands)
    assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
    assert re.search(rb"usage: envwatch", forked.stdout)


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
def test_it_ends_as_a_started_program_ends(end: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDS.format(end=end))
    commands = (sys.executable, str(script)), ("/usr/bin/env", sys.executable, str(script))
    forked, real = (programs.run(command, environment(tmp_path)) for command in commands)
    assert (forked.returncode, forked.stdout) == (real.returncode, real.stdout)
    assert forked.stderr == real.stderr
    assert {b"waited for", b"called", b"destroyed"} <= {*forked.stderr.splitlines()}


@pytest.mark.parametrize(
    "more",
    [{"LC_ALL": "C"}, {"PYTHONDEVMODE": "1"}, {"PYTHONUNBUFFERED": "1"}, {"TEXTUAL_FPS": "1"}, {"LD_PRELOAD": "x.so"}],
)
def test_what_the_start_of_python_takes_notice_of_needs_a_real_one(more: Mapping[str, str], tmp_path: Path) -> None:
    usual = environment(tmp_path)
    assert starts_alike(ENVWATCH, usual)
    assert not starts_alike(ENVWATCH, {**usual, **more})
    assert not starts_alike((sys.executable, "-c", "0"), usual)
    assert not starts_alike((str(ROOT / "other"), "-m", "envwatch"), usual)
