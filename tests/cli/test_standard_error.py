"""Standard error while the dashboard has the terminal: goes to the log, never to the screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support import programs
from support.noisy_program import KEPT
from support.pty_terminal import Terminal, environment

from envwatch.cli.streams import LONGEST_LINE, standard_error_to

NOISY = (sys.executable, str(Path(__file__).parents[1] / "support" / "noisy_program.py"))
SHOWN = "● [0-9,]+ "
SCREEN_TAKEN, SCREEN_GIVEN_BACK = b"\x1b[?1049h", b"\x1b[?1049l"


def test_what_others_write_to_standard_error_is_in_the_log_and_not_on_the_screen(tmp_path: Path) -> None:
    log = tmp_path / "polls.log"
    with Terminal([*NOISY, "demo", "--no-history", "--log-file", str(log)], environment(tmp_path)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.wait_until(lambda: all(noise in log.read_text() for noise in KEPT), f"{KEPT} in the log")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    before, taken, during = terminal.received.partition(SCREEN_TAKEN)
    during, given_back, _ = during.partition(SCREEN_GIVEN_BACK)
    assert taken
    assert given_back
    assert b"noise" in before  # proves that the test would find the text
    assert b"noise" not in during
    assert " warning standard error: " in log.read_text()


@pytest.mark.parametrize("switch", [pytest.param("PYTHONASYNCIODEBUG", marks=pytest.mark.slow), "PYTHONDEVMODE"])
def test_python_s_debugging_writes_nothing_to_the_terminal(tmp_path: Path, switch: str) -> None:
    environ = environment(tmp_path, **{switch: "1"})
    with Terminal([sys.executable, "-m", "envwatch", "demo", "--no-history", "--size", "3000"], environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert b"Executing" not in terminal.received
    assert b"Warning" not in terminal.received


def test_a_report_of_a_crash_still_reaches_the_terminal(tmp_path: Path) -> None:
    script = (
        "import os, sys; from envwatch.cli.streams import print_error\n"
        "from envwatch.cli.streams import standard_error_to\n"
        "with standard_error_to(lambda line: None):\n"
        "    os.write(2, b'from a library\\n'); print_error('from envwatch')\n"
        "os.write(2, b'from the time after\\n')"
    )
    program = tmp_path / "program.py"
    program.write_text(script)
    done = programs.run([sys.executable, str(program)], environment(tmp_path))
    assert done.returncode == 0
    assert done.stderr == b"from envwatch\nfrom the time after\n"


def test_lines_are_passed_on_whole_and_in_order_and_long_ones_in_parts(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    with standard_error_to(lines.append):
        os.write(2, b"one, ")
        os.write(2, b"two\n\nthree \xff\n" + b"x" * 5000)
    assert lines[:2] == ["one, two", "three \ufffd"]
    assert "".join(lines[2:]) == "x" * 5000
    assert max(map(len, lines)) <= LONGEST_LINE
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
