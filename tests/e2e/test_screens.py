"""The real program on the demo fleet in a terminal of 80x24, used like a person would."""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.demo_screen import HEADER, cursor_name, demo, quit_with, rows, titles_line
from support.pty_terminal import ENTER, ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_cursor_from(terminal: Terminal, line: int) -> bool:
    return terminal.cursor_line >= line


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A paused dashboard at 80x24: only keys change the screen. Many tests share the run."""
    with demo(tmp_path_factory.mktemp("home"), 80, 24) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("paused: p goes on")
        yield terminal
        quit_with(terminal, "q", 0)


@pytest.fixture
def terminal(still: Terminal) -> Terminal:
    still.press("0", "g")
    still.wait_for(HEADER)
    still.wait_for_cursor(1)
    still.wait_for_no("[0-9]/[0-9]+  ")
    return still


def test_keys_move_the_cursor(terminal: Terminal) -> None:
    names = [cursor_name(terminal)]
    below = titles_line(terminal)
    for line in (below + 1, below + 2):  # below the rule and the titles
        terminal.press("j")
        terminal.wait_until(partial(is_cursor_from, terminal, line), f"the cursor on line {line}")
        names.append(cursor_name(terminal))
    assert len(set(names)) == 3
    terminal.press("k")
    terminal.wait_until(lambda: cursor_name(terminal) == names[1])
    terminal.press("G")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "the cursor on the last line")
    first_row = terminal.display[below + 1]
    terminal.press("g")
    terminal.wait_for_cursor(1)
    terminal.wait_until(lambda: terminal.display[below + 1] != first_row, "the table at its top")
    terminal.press("\x04")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "a page down")
    terminal.press("\x15")
    terminal.wait_for_cursor(1)


def test_after_a_filter_the_cursor_stays_visible_on_the_header_of_its_folded_row(
    terminal: Terminal,
) -> None:
    assert "sofia-laptop-4" not in terminal.text
    terminal.press("/sofia-l")
    terminal.wait_for(r" 1/4\d")
    terminal.wait_until(lambda: len(rows(terminal)) == 1, "one row")
    terminal.press(ENTER)
    terminal.wait_for("/ Filter")
    terminal.wait_until(lambda: cursor_name(terminal) == "sofia-laptop-4", "the first match under the cursor")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    terminal.wait_for("^ ►▸ offline for over 24 h  ○ 6")
    terminal.press(ENTER)
    terminal.wait_for("^ ►▾ offline for over 24 h  ○ 6")
    terminal.press("n")
    terminal.wait_for("^▌►○ off ")
    terminal.press("G")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "the cursor at the foot")
    assert " sofia-laptop-4 " in terminal.text


def test_keys_in_one_packet_with_the_slash_go_into_the_filter_bar_only(terminal: Terminal) -> None:
    terminal.press("/quit-r-t-0-1")
    terminal.wait_for("^ quit-r-t-0-1")
    terminal.wait_for("Nothing matches. esc clears the filter")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_n_goes_to_the_only_loss_and_says_that_there_is_no_other_and_big_n_goes_back(terminal: Terminal) -> None:
    terminal.press("G", "x")  # rows that are off for long need nobody, folded or not
    terminal.wait_for("^ ►▾ offline for over 24 h")
    terminal.press("n")
    terminal.wait_for_cursor(1)
    assert terminal.display[2].startswith("── ")
    terminal.press("n")
    terminal.wait_for("this is the only line that needs a person")
    assert terminal.cursor_line == 1
    terminal.press("N")
    terminal.wait_for("^ ►▾ offline for over 24 h")
    terminal.press("x")
    terminal.wait_for("^ ►▸ offline for over 24 h")


def test_times_and_interval_answer_in_the_news_bar(terminal: Terminal) -> None:
    terminal.press("t")
    terminal.wait_for("times: local")
    terminal.press("t")
    terminal.wait_for("times: UTC")
    terminal.press("+")
    terminal.wait_for("polling every 10s")
    terminal.press("-", "-")
    terminal.wait_for("polling every 2s")


def test_help_lies_over_the_dashboard_and_the_explanation_is_a_part_of_the_pane(terminal: Terminal) -> None:
    terminal.press("?")
    terminal.wait_for("^ States ")
    terminal.press("\x1b[6~")
    terminal.wait_for("asking 127.0.0.1:[0-9]+ with the key from the demo itself")
    terminal.wait_for_no(HEADER)
    terminal.press(ESC)
    terminal.wait_for(HEADER)
    terminal.press("E")
    terminal.wait_for("^ This environment is (offline|unknown, was offline): ")
    terminal.wait_for(r"→ offline: disconnected|→ ≥ 120 s: heartbeat lost")
    terminal.press("E")
    terminal.wait_for(HEADER)


def test_the_palette_runs_what_it_offers(terminal: Terminal) -> None:
    terminal.press(":")
    terminal.wait_for("Search for commands")
    terminal.press("show late")
    terminal.wait_for("Show late")
    terminal.press(ENTER)
    terminal.wait_for(" 1/[0-9]+ ")
    terminal.press("0")
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_what_is_shown_is_compared_with_a_baseline_and_exported(terminal: Terminal) -> None:
    terminal.press("m")
    terminal.wait_for("baseline marked")
    terminal.press("=")
    terminal.wait_for("Nothing differs from the baseline")
    terminal.press("=")
    terminal.wait_for_no("Nothing differs from the baseline")
    terminal.press("\x13")
    terminal.wait_for("Export rows or screen")
    terminal.press(ENTER)
    terminal.wait_for(r"exported to .*\.json")


def test_the_clipboard_gets_the_name_and_only_when_asked(terminal: Terminal) -> None:
    assert b"\x1b]52;" not in terminal.received
    name = cursor_name(terminal)
    terminal.press("c")
    terminal.wait_for("sent to the clipboard: ")
    sent = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", bytes(terminal.received))
    assert [base64.b64decode(text).decode() for text in sent] == [name]
