"""The demo's hints in a real terminal: key by key, with a permanent end."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import ENTER, ESC, Terminal, environment

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOWN = "● [0-9]+ on"
HINT = "no more hints"


@contextmanager
def demo(
    home: Path, *options: str, columns: int = 80, lines: int = 24, environ: dict[str, str] | None = None
) -> Iterator[Terminal]:
    arguments = ("demo", "--no-history", *options)
    with Terminal.of_envwatch(*arguments, home=home, columns=columns, lines=lines, environ=environ) as terminal:
        terminal.wait_for(SHOWN)
        yield terminal


def assert_no_hints(terminal: Terminal) -> None:
    """Assert that no hint appears: hints are drawn before the first key is handled."""
    terminal.press(":")
    terminal.wait_for("Search for commands")
    terminal.press(ESC)
    terminal.wait_for_no("Search for commands")
    assert "hint" not in terminal.text.lower()


def test_each_hint_comes_in_its_time_when_the_key_of_the_hint_before_was_used(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.wait_for("hint 1 of 8: ⏎ opens the row's details, with what to do +H no more hints")
        assert re.search("hint 1", terminal.display[-2])  # between news and footer
        terminal.press("j")
        terminal.press(ENTER)
        terminal.wait_for("hint 2 of 8 comes with the next change +H no more hints")
        terminal.press("e", "q", "n")
        terminal.wait_for("hint 4 of 8 comes with the next change +H no more hints")
        terminal.press("A")
        terminal.wait_for("by rule +a loss needs a person: up 99 % of 7 days")
        terminal.press(ESC)
        terminal.wait_for("hint 5 of 8 comes")
        terminal.press("?")
        terminal.wait_for("^ States ")
        terminal.press("q")
        terminal.wait_for("hint 6 of 8 comes")
        terminal.press("/")
        terminal.wait_for("the table follows the text as you type; esc leads back *$")
        terminal.press("H")  # types a letter in the prompt
        terminal.wait_for("^ H *$")
        terminal.press(ESC)
        terminal.press("{", "x")
        terminal.wait_for("no hint is left|hint [0-9]")
        terminal.wait_for_no("hint [0-9]")
        terminal.press("qq")
        assert terminal.wait_for_end() == 0
    with demo(tmp_path) as terminal:
        assert_no_hints(terminal)


def test_they_are_closed_for_good_by_the_key_that_stands_there(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.wait_for(HINT)
        rows = len([line for line in terminal.display if re.match("[▌ ][► ][●◐○] ", line)])
        terminal.press("H")
        terminal.wait_for("hints are off, also in later demos")
        terminal.wait_for_no("hint [0-9]")
        assert len([line for line in terminal.display if re.match("[▌ ][► ][●◐○] ", line)]) >= rows
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    with demo(tmp_path) as terminal:
        assert_no_hints(terminal)


def test_a_key_of_the_users_own_is_not_taken_for_closing_them(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"app.bell" = ["H"]\n"row.open" = ["z"]\n')
    with demo(tmp_path, environ=environment(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))) as terminal:
        terminal.wait_for(r"hint 1 of 8: z opens the row's details, with what to do +F2 no more hints")
        terminal.press("H")
        terminal.wait_for("bell on")
        assert HINT in terminal.text


@pytest.mark.parametrize(("options", "lines"), [(("--no-hints",), 24), ((), 19)])
def test_there_are_none_where_they_are_not_wanted_or_lines_are_few(
    options: tuple[str, ...], lines: int, tmp_path: Path
) -> None:
    with demo(tmp_path, *options, lines=lines) as terminal:
        assert_no_hints(terminal)


def test_a_screen_that_becomes_low_gets_its_line_back(tmp_path: Path) -> None:
    with demo(tmp_path) as terminal:
        terminal.wait_for(HINT)
        terminal.resize(80, 15)
        terminal.wait_for_no(HINT)
        terminal.resize(80, 24)
        terminal.wait_for(HINT)


def test_the_dashboard_on_a_server_has_none(tmp_path: Path) -> None:
    with Server(5, key="key-of-a-test") as server:
        environ = environment(tmp_path, LETTA_API_KEY="key-of-a-test", LETTA_BASE_URL=server.base_url)
        with Terminal.of_envwatch("--no-history", home=tmp_path, columns=80, lines=24, environ=environ) as terminal:
            terminal.wait_for(SHOWN)
            terminal.wait_for("Quit")
            assert not re.search("hint", terminal.text)
            terminal.press(":hints")
            terminal.wait_for("No matches|no command|hints")
            terminal.wait_for_no("Search for")
            assert "No more hints" not in terminal.text
