"""The real program on the demo fleet in a terminal, used like a person would: layout, keys, mouse, clipboard, hints."""

from __future__ import annotations

import base64
import re
import signal
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.demo_screen import HEADER, cursor_name, demo, quit_with, rows, titles_line
from support.pty_terminal import ENTER, ESC, Terminal, environment
from support.shells import IN_BAND_RESIZE, is_fresh, modes_after, wait_for_stop

from envwatch.cli.demo_settings import VIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZES = [(200, 50), (80, 24), (120, 36)]
FOLDED = re.compile("  ▸ off for over 24 h  ○ ([0-9]+)")


def assert_every_part_is_in_its_place(terminal: Terminal) -> None:
    columns, screen, titles = terminal.screen.columns, terminal.display, titles_line(terminal)
    status = re.search(r"○ (?:([0-9]+) page  )?(?:\+[0-9]+ off  )?◐ ([0-9]+) late  ● ([0-9]+) on", screen[0])
    assert status is not None
    assert re.search(r"live [0-9]s/5s$", screen[0].rstrip())
    block, rule = screen[1 : titles - 1], screen[titles - 1]
    losses = [found for line in block if (found := re.match(r"[▌ ][► ][○✓] (?:([0-9]+) (?:of [0-9]+ )?)?off ", line))]
    returns = [line for line in block if re.match(r"▌[► ]● back ", line)]
    assert len(losses) + len(returns) == len(block)
    assert sum(int(found[1] or 1) for found in losses) == int(status[1] or 0)
    assert re.match("── [0-9]+ on ", rule)
    assert re.match(r" (no events yet: the first listing is the baseline|nothing has changed since|\S +\S)", screen[-2])
    assert screen[-1].startswith(" / Filter  ⏎ Detail")
    lines = [terminal.part(y, 0, 31).rstrip() for y in range(titles + 1, terminal.screen.lines - 2)]
    folded = next((y for y, line in enumerate(lines) if FOLDED.fullmatch(line)), None)
    table = lines[:folded]
    if folded is not None:
        counts = {word: int(count) for count, word in re.findall("([0-9]+) ([a-z]+)", rule)}
        assert FOLDED.fullmatch(lines[folded])[1] == str(counts.pop("old"))  # type: ignore[index]  # it matches
        assert counts["on"] == int(status[3])
        assert len(table) + len(returns) == sum(counts.values()) + int(status[2])
    row = r"[▌ ][► ](● on  |● flap|◐ late|○ off ) *[0-9]+[smhd]( [0-9]+h)?" r" +([0-9]+[smhd]|–) \S"
    assert [line for line in table if re.match(row, line) is None] == []
    assert all("◐" not in line for line in table[int(status[2]) :]), "late rows are the first rows"
    body = range(titles, titles + 1 + len(table))
    edges = {x for y in body for x in range(columns) if terminal.part(y, x, x + 1) == "▏"}
    assert len(edges) == (1 if columns >= 120 else 0)
    for edge in edges:
        assert all(terminal.part(y, edge, edge + 2) == "▏ " for y in body)
        assert re.match(r"▏ [●◐○] (ON|LATE|OFF|[0-9]+ off) for ", terminal.part(titles + 1, edge))


def wait_for_layout(terminal: Terminal, check: Callable[[], None]) -> None:
    """Wait until a layout's assertions hold: parts may come a frame later."""

    def is_right() -> bool:
        with suppress(AssertionError):
            check()
            return True
        return False

    try:
        terminal.wait_until(is_right, "every part in its place")
    except AssertionError:
        check()
        raise


def assert_pane_answers_first(terminal: Terminal, *, left: int) -> None:
    """Assert bold name and state, then the advice with its letter, then the rest; read from the cells."""
    states = [y for y in range(terminal.screen.lines) if re.match("[○?] (OFF|UNKNOWN) for ", terminal.part(y, left))]
    assert len(states) == 1
    (state,) = states
    top, titles = state - 1, titles_line(terminal)
    assert top == titles if left > 1 else top > titles + len(rows(terminal))
    assert cursor_name(terminal).startswith(terminal.part(top, left).strip())
    assert all(terminal.screen.buffer[state][x].bold for x in range(left + 2, left + 5))
    pane = [terminal.part(y, left).rstrip(" ▁▂▃▄▅▆▇█") for y in range(top, terminal.screen.lines - 2)]
    helps = next((y for y, line in enumerate(pane) if line.startswith("do ")), len(pane))
    about = next((y for y, line in enumerate(pane) if re.fullmatch("── about ─+", line)), 0)
    assert helps < about
    assert pane[helps].endswith("y l")
    assert all(len(line) <= terminal.screen.columns - left for line in pane)


def test_every_size_has_its_layout_and_the_pane_answers_first(tmp_path: Path) -> None:
    with demo(tmp_path, 200, 50) as terminal:
        for columns, lines in SIZES:
            if terminal.screen.columns != columns:
                terminal.screen.reset()
                terminal.resize(columns, lines)
            terminal.wait_for("▏ [●◐○] [A-Z]+ for " if columns >= 120 else HEADER)
            terminal.wait_for("^ / Filter")
            wait_for_layout(terminal, partial(assert_every_part_is_in_its_place, terminal))
        beat = first_beat(terminal)
        assert beat
        terminal.wait_until(lambda: first_beat(terminal) != beat, "the age ticks")
        terminal.press("p")
        terminal.wait_for("PAUSED")
        wait_for_layout(terminal, partial(assert_pane_answers_first, terminal, left=76))
        terminal.screen.reset()
        terminal.resize(80, 50)
        wait_for_layout(terminal, partial(assert_pane_answers_first, terminal, left=1))
        terminal.resize(120, 36)
        terminal.wait_for("▏")
        terminal.press("v")
        terminal.wait_for_no("▏")
        name = cursor_name(terminal)
        for columns, lines, pattern in (
            (80, 24, HEADER),
            (39, 24, "too small"),
            (40, 8, HEADER),
            (80, 7, "too small"),
            (1, 1, r"\At"),
            (200, 50, rf"{HEADER}.* OS "),
            (80, 50, rf"{HEADER}.* BRANCH *$"),
            (120, 36, rf"{HEADER}.* OS "),
        ):
            terminal.screen.reset()
            terminal.resize(columns, lines)
            terminal.wait_for(pattern)
        terminal.wait_until(lambda: cursor_name(terminal) == name, "the same row under the cursor")
        terminal.click(60, 10)
        terminal.wait_until(lambda: terminal.cursor_line == 10, "a click selects")
        terminal.click(20, titles_line(terminal))
        terminal.wait_for("NAME▲")
        quit_with(terminal, "\x03", 130)


def first_beat(terminal: Terminal) -> str:
    return next((match[1] for row in rows(terminal) if (match := re.search(r"● on +[0-9dhms ]+ ([0-9]+s) ", row))), "")


@pytest.mark.slow
def test_a_person_finds_compares_and_takes_away_with_few_keys(tmp_path: Path) -> None:
    with demo(tmp_path, 80, 24) as terminal:
        terminal.press("p")  # only keys change the screen
        terminal.wait_for("PAUSED")
        move_the_cursor(terminal)
        filter_rows(terminal)
        for keys, shown in (
            ("t", "times: local"),
            ("+", "polling every 10s"),
            ("V", f"^ view {VIEW}"),
            ("", "▾ meta.team "),
            ("0", "view reset"),
            (":show off", "Show off and late"),
            (ENTER, " [0-9]+/[0-9]+ "),
            ("0", HEADER),
            ("?", "^ States "),
            ("\x1b[6~", "asking 127.0.0.1:[0-9]+ with the key from the demo itself"),
            (ESC, HEADER),
            ("gE", "^ This machine is (offline|unknown, was offline): "),
            ("E", HEADER),
            ("m", "baseline marked"),
            ("=", "Nothing differs from the baseline"),
            ("=", HEADER),
            ("\x13", "Export machines or screen"),
            (ENTER, r"exported to .*\.json"),
        ):
            terminal.press(keys)
            terminal.wait_for(shown)
        assert b"\x1b]52;" not in terminal.received, "only when asked"
        terminal.wait_until(lambda: terminal.cursor_line >= 0 and cursor_name(terminal), "a name under the cursor")
        name = cursor_name(terminal)
        terminal.press("c")
        terminal.wait_for("sent to the clipboard: ")
        sent = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", bytes(terminal.received))
        assert [base64.b64decode(text).decode() for text in sent] == [name]
        quit_with(terminal, "q", 0)


def move_the_cursor(terminal: Terminal) -> None:
    below = titles_line(terminal)
    terminal.press("j")
    terminal.wait_for_cursor(below + 1)  # below the rule and the titles
    terminal.press("G")
    terminal.wait_for_cursor(21)
    terminal.press("x", "n")
    terminal.wait_for_cursor(1)
    assert terminal.display[2].startswith("── "), "the only loss"
    terminal.press("n")
    terminal.wait_for("this is the only line that pages")
    terminal.press("N")
    terminal.wait_for("^ ►▾ off for over 24 h")
    terminal.press("x")
    terminal.wait_for("^ ►▸ off for over 24 h")


def filter_rows(terminal: Terminal) -> None:
    """Keys in one packet with the slash go into the filter bar only; the cursor stays visible after the filter."""
    terminal.press("/quit-r-t-0-1")
    terminal.wait_for("^ quit-r-t-0-1")
    terminal.wait_for("Nothing matches. esc clears the filter")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    terminal.press("/sofia-l")
    terminal.wait_for(r" 1/4\d")
    terminal.press(ENTER)
    terminal.wait_until(lambda: cursor_name(terminal) == "sofia-laptop-4", "the first match under the cursor")
    terminal.press(ESC)
    terminal.wait_for("^ ►▸ off for over 24 h  ○ 6")
    terminal.press(ENTER)
    terminal.wait_for("^ ►▾ off for over 24 h  ○ 6")
    terminal.press(ENTER)
    terminal.wait_for("^ ►▸ off for over 24 h  ○ 6")


# -- the mouse of a plain text -----------------------------------------------------------------------------------------
OURS = {1000, 1006}
"""Modes that switch mouse reports on; further modes only choose the format."""


def reports(terminal: Terminal) -> set[int]:
    return modes_after(terminal.received).private & OURS


def open_text(terminal: Terminal) -> None:
    terminal.press("y")
    terminal.wait_for("Show as plain text")
    terminal.press("\x1b[B" * 4 + " ")  # in one packet
    terminal.wait_for(r'^\s+"connected_at": ')
    terminal.wait_until(lambda: not reports(terminal), "the mouse lent")


def close_text(terminal: Terminal) -> None:
    terminal.press(ESC)
    terminal.wait_for("STATE    FOR BEAT NAME")
    terminal.wait_until(lambda: reports(terminal) == OURS, "the mouse taken back")


def is_drawn_again(terminal: Terminal, times: int) -> bool:
    taken = b"\x1b[?1049h"
    drawn = terminal.received.rpartition(taken)[2]
    return terminal.received.count(taken) > times and b"connected_at" in drawn


@pytest.mark.parametrize(("way", "code"), [(signal.SIGTERM, 143), ("\x03", 130)], ids=["TERM", "ctrl+c"])
def test_the_mouse_is_the_terminals_while_a_text_is_shown_also_over_a_stop(
    tmp_path: Path, way: signal.Signals | str, code: int
) -> None:
    with demo(tmp_path, 80, 60) as terminal:
        terminal.press("p\x1b[?2048;2$y\x1b[48;60;80;1200;800t")  # reports clicks in cells, though it has pixels
        terminal.wait_until(lambda: IN_BAND_RESIZE in modes_after(terminal.received).private, "the mode set")
        assert reports(terminal) == OURS
        open_text(terminal)
        close_text(terminal)
        terminal.click(22, titles_line(terminal))
        terminal.wait_for("NAME▲")
        open_text(terminal)
        # Above the text, only the status line and the newest loss are visible.
        assert all(not line.startswith(("▌", "▏")) for line in terminal.display[2:])
        terminal.send_signal(signal.SIGTSTP)
        terminal.wait_until(lambda: is_fresh(modes_after(terminal.received)), "the restored terminal")
        wait_for_stop(terminal.process.pid)
        taken = terminal.received.count(b"\x1b[?1049h")
        terminal.send_signal(signal.SIGCONT)
        terminal.wait_until(partial(is_drawn_again, terminal, taken), "drawn again")
        terminal.wait_until(lambda: not reports(terminal), "the mouse lent again")
        close_text(terminal)
        open_text(terminal)
        if isinstance(way, str):
            terminal.press(way)
        else:
            terminal.send_signal(way)
        assert terminal.wait_for_end() == code
        assert is_fresh(modes_after(terminal.received)), modes_after(terminal.received)


# -- hints -------------------------------------------------------------------------------------------------------------
@contextmanager
def hinting(home: Path, environ: dict[str, str] | None = None) -> Iterator[Terminal]:
    with Terminal.of_envwatch("demo", "--no-history", home=home, environ=environ) as terminal:
        terminal.wait_for("● [0-9]+ on")
        yield terminal


def assert_no_hints(terminal: Terminal) -> None:
    """Assert that no hint appears: hints are drawn before the first key is handled."""
    terminal.press(":")
    terminal.wait_for("Search for commands")
    terminal.press(ESC)
    terminal.wait_for_no("Search for commands")
    assert "hint" not in terminal.text.lower()


@pytest.mark.slow
def test_each_hint_comes_in_its_time_after_the_key_of_the_hint_before(tmp_path: Path) -> None:
    with hinting(tmp_path) as terminal:
        terminal.wait_for("hint 1 of 8: ⏎ opens the machine's details, with what to do +H no more hints")
        assert re.search("hint 1", terminal.display[-2])  # between news and footer
        terminal.press("j")
        terminal.press(ENTER)
        terminal.wait_for("hint 2 of 8 comes with the next change +H no more hints")
        terminal.press("e", "q", "n")
        terminal.wait_for("hint 4 of 8 comes with the next change +H no more hints")
        terminal.press("A")
        terminal.wait_for("by rule +pages: up 99 % of 7 days")
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
    with hinting(tmp_path) as terminal:
        assert_no_hints(terminal)


def test_the_named_key_closes_the_hints_for_good_and_a_low_screen_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"app.bell" = ["H"]\n"machine.open" = ["z"]\n')
    with hinting(tmp_path, environment(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))) as terminal:
        terminal.wait_for(r"hint 1 of 8: z opens the machine's details, with what to do +F2 no more hints")
        terminal.press("H")
        terminal.wait_for("bell on")
        terminal.resize(80, 15)
        terminal.wait_for_no("no more hints")
        terminal.resize(80, 24)
        terminal.wait_for("no more hints")
        terminal.press("\x1bOQ")  # F2
        terminal.wait_for("hints are off, also in later demos")
        terminal.wait_for_no("hint [0-9]")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    with hinting(tmp_path) as terminal:
        assert_no_hints(terminal)
