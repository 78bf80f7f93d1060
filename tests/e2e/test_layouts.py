"""The layout of the real program on the demo fleet, in terminals of several sizes."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.demo_screen import HEADER, cursor_name, demo, quit_with, rows, titles_line
from support.pty_terminal import ENTER, ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = [(200, 50), (80, 24), (120, 36)]
FOLDED = re.compile("  ▸ offline for over 24 h  ○ ([0-9]+)")


def assert_every_part_is_in_its_place(terminal: Terminal) -> None:
    columns, screen, titles = terminal.screen.columns, terminal.display, titles_line(terminal)
    status = re.search(r"● ([0-9]+) on  ◐ ([0-9]+) late  ○ ([0-9]+) off", screen[0])
    assert status is not None
    assert re.search(r"live [0-9]s/5s$", screen[0].rstrip())
    block, rule = screen[1 : titles - 1], screen[titles - 1]
    losses = [found for line in block if (found := re.match(r"[▌ ][► ][○✓] (?:([0-9]+) (?:of [0-9]+ )?)?off ", line))]
    returns = [line for line in block if re.match(r"▌[► ]● back ", line)]
    assert len(losses) + len(returns) == len(block)
    assert sum(int(found[1] or 1) for found in losses) == int(status[3])
    assert re.match("── [0-9]+ online ", rule)
    assert re.match(r" (no events yet: the first listing is the baseline|nothing has changed since|\S +\S)", screen[-2])
    assert screen[-1].startswith(" / Filter  ⏎ Detail")
    lines = [terminal.part(y, 0, 31).rstrip() for y in range(titles + 1, terminal.screen.lines - 2)]
    folded = next((y for y, line in enumerate(lines) if FOLDED.fullmatch(line)), None)
    table = lines[:folded]
    if folded is not None:
        counts = {word: int(count) for count, word in re.findall("([0-9]+) ([a-z]+)", rule)}
        assert FOLDED.fullmatch(lines[folded])[1] == str(counts.pop("old"))  # type: ignore[index]  # it matches
        assert counts["online"] == int(status[1]) + int(status[2])
        assert len(table) + len(returns) == sum(counts.values())
    row = r"[▌ ][► ](● on  |● flap|◐ late|○ off ) *[0-9]+[smhd]( [0-9]+h)?" r" +([0-9]+[smhd]|–) \S"
    assert [line for line in table if re.match(row, line) is None] == []
    assert all("◐" not in line for line in table[int(status[2]) :]), "late rows are the first rows"
    body = range(titles, titles + 1 + len(table))
    edges = {x for y in body for x in range(columns) if terminal.part(y, x, x + 1) == "▏"}
    assert len(edges) == (1 if columns >= 120 else 0)
    for edge in edges:
        assert all(terminal.part(y, edge, edge + 2) == "▏ " for y in body)
        assert re.match(r"▏ [●◐○] (ONLINE|LATE|OFFLINE|[0-9]+ off) for ", terminal.part(titles + 1, edge))


def test_the_pane_and_sizes_at_120_by_36(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("▏ mode ")
        terminal.press("v")
        terminal.wait_for_no("▏")
        terminal.wait_for("BRANCH +UP +OS +USER")
        terminal.press("v")
        terminal.wait_for("▏ ○ OFFLINE for ")
        titles = titles_line(terminal)
        first = terminal.display[titles].partition("▏")[2]
        terminal.press("j")
        terminal.wait_until(lambda: terminal.display[titles].partition("▏")[2] != first, "the pane follows the cursor")
        terminal.press("j")
        terminal.wait_for("▏ ● ONLINE for ")
        terminal.press(ENTER)
        terminal.wait_for_no("⏎ Detail")
        terminal.press("G")
        terminal.wait_for("▏ org ")
        terminal.press(ESC)
        terminal.wait_for("⏎ Detail")
        terminal.press(ESC)
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


def test_every_size_has_its_layout(tmp_path: Path) -> None:
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
        terminal.send_signal(signal.SIGWINCH)
        quit_with(terminal, "q", 0)


@pytest.mark.slow
def test_within_half_a_minute_the_demo_shows_what_envwatch_is_for(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("e")
        terminal.wait_for("Nothing has happened since|Z ")
        for what in (
            r"mode \w+ → unrestricted !",
            r"back online after [0-9]+m",
            r"went offline · ",
        ):
            terminal.wait_for(what)
        terminal.press("G", ENTER)
        terminal.wait_for(HEADER)
        terminal.press("?")
        terminal.wait_for("asking ")
        terminal.press("q")
        terminal.wait_for(HEADER)
        terminal.wait_for(" MODE unrestricted! ")
        quit_with(terminal, "q", 0)


def first_beat(terminal: Terminal) -> str:
    return next((match[1] for row in rows(terminal) if (match := re.search(r"● on +[0-9dhms ]+ ([0-9]+s) ", row))), "")


def test_without_colour_and_unicode_every_state_still_reads(tmp_path: Path) -> None:
    environ = {"NO_COLOR": "1"}
    with Terminal.of_envwatch(
        "demo", "--no-history", "--no-hints", "--ascii", home=tmp_path, environ=environ
    ) as terminal:
        for state in (r"^.>x off ", "^. ~ late ", r"^. \+ on ", r"\+ [0-9]+ on  ~ 1 late  x [0-9]+ off", "^ / Filter"):
            terminal.wait_for(state)
        assert not set("●◐○▌△↓▲▼…▾▸") & set("".join(terminal.display[:-1]))
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    colours = set(re.findall(rb"[34]8;5;([0-9]+)", bytes(terminal.received)))
    greys = {0, 7, 8, 15, 16, 59, 102, 145, 188, 231, *range(232, 256)}
    assert {int(colour) for colour in colours} <= greys
    assert not re.search(rb"\x1b\[(?:[0-9;]*;)?(?:3[1-6]|4[1-6]|9[1-6])m", terminal.received)


def test_the_pane_answers_first_beside_the_table_and_below_it(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        wait_for_layout(terminal, partial(assert_pane_answers_first, terminal, left=76))
        terminal.screen.reset()
        terminal.resize(80, 50)
        wait_for_layout(terminal, partial(assert_pane_answers_first, terminal, left=1))
        quit_with(terminal, "q", 0)


def assert_pane_answers_first(terminal: Terminal, *, left: int) -> None:
    """Assert bold name and state, then the advice with its letter, then the rest; read from the cells."""
    states = [
        y for y in range(terminal.screen.lines) if re.match("[○?] (OFFLINE|UNKNOWN) for ", terminal.part(y, left))
    ]
    assert len(states) == 1
    (state,) = states
    top, titles = state - 1, titles_line(terminal)
    assert top == titles if left > 1 else top > titles + len(rows(terminal))
    assert cursor_name(terminal).startswith(terminal.part(top, left).strip())
    assert all(terminal.screen.buffer[state][x].bold for x in range(left + 2, left + 9))
    pane = [terminal.part(y, left).rstrip(" ▁▂▃▄▅▆▇█") for y in range(top, terminal.screen.lines - 2)]
    helps = next((y for y, line in enumerate(pane) if line.startswith("do ")), len(pane))
    about = next((y for y, line in enumerate(pane) if re.fullmatch("── about ─+", line)), 0)
    assert helps < about
    assert pane[helps].endswith("y l")
    assert all(len(line) <= terminal.screen.columns - left for line in pane)
