"""The real program on its demo fleet in a real terminal, as a person would look at it and use it."""

from __future__ import annotations

import base64
import re
import signal
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.own_keys import own_keys
from support.pty_terminal import ENTER, ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = [(200, 50), (80, 24), (120, 36)]
HEADER = r"^  STATE    FOR BEAT NAME"
FOLDED = re.compile("  ▸ offline for over 24 h  ○ ([0-9]+)")
"""The line at the end of the table for those that are offline for long."""


@contextmanager
def demo(home: Path, columns: int, lines: int, *options: str) -> Iterator[Terminal]:
    """The dashboard on the demo fleet, its first listing drawn."""
    arguments = ("demo", "--seed", "7", "--no-history", "--no-hints", *options)
    with Terminal.of_envwatch(*arguments, home=home, columns=columns, lines=lines, environ=own_keys(home)) as terminal:
        terminal.wait_for(HEADER)
        terminal.wait_for("● [0-9]+ on .*○ [0-9]+ off")
        terminal.wait_until(lambda: terminal.cursor_line == 2, "the cursor on the first row")
        yield terminal


def is_cursor_from(terminal: Terminal, line: int) -> bool:
    return terminal.cursor_line >= line


def wait_for_rows(terminal: Terminal, pattern: str) -> None:
    """Wait until every row of the table starts with something, and there is one."""
    terminal.wait_until(lambda: (found := rows(terminal)) and all(re.match(pattern, row) for row in found), pattern)


def cursor_name(terminal: Terminal) -> str:
    """The name of the environment under the cursor, as far as the table shows it."""
    line = terminal.cursor_line
    assert line is not None, terminal.text
    return re.sub(" +(NEW|BACK|JOIN|MODE|VER|CONN)$", "", terminal.part(line, 20, 40).rstrip())


def rows(terminal: Terminal) -> list[str]:
    """The lines of the table."""
    return [line for line in terminal.display[2:-2] if re.match(r"[▌ ][► ][●◐○·?] ", line)]


def quit_with(terminal: Terminal, key: str, code: int) -> None:
    terminal.press(key)
    assert terminal.wait_for_end() == code
    for mode in ("1049", "1000", "1006", "2004"):
        assert terminal.received.rfind(f"\x1b[?{mode}l".encode()) > terminal.received.rfind(f"\x1b[?{mode}h".encode())
    assert terminal.received.rfind(b"\x1b[?25h") > terminal.received.rfind(b"\x1b[?25l")


def assert_every_part_is_in_its_place(terminal: Terminal) -> None:
    columns, lines = terminal.screen.columns, terminal.screen.lines
    screen = terminal.display
    assert re.search(r"● [0-9]+ on  ◐ [0-9]+ late  ○ [0-9]+ off", screen[0])
    assert re.search(r"live [0-9]s/5s$", screen[0].rstrip())
    assert screen[1].startswith("  STATE    FOR BEAT NAME")
    assert screen[-2].startswith((" no events yet: the first listing is the baseline", " 1", " 2", " 0"))
    assert screen[-1].startswith(" / Filter  ⏎ Detail")
    body = range(2, lines - 2)
    table = [terminal.part(y, 0, 31).rstrip() for y in body if terminal.part(y, 0, 31).strip()]
    folded = FOLDED.fullmatch(table[-1])
    assert folded is not None or len(table) == lines - 4
    rules = [y for y, line in enumerate(table) if re.match("── [0-9]+ online ", line)]
    assert len(rules) == 1
    assert all(re.match("[▌ ][► ]● (on  |flap) ", line) is None for line in table[: rules[0]])
    del table[rules[0]]
    if folded is not None:
        del table[-1]
        assert len(table) == sum(map(int, re.findall("[●◐○] ([0-9]+)", screen[0])))
        assert re.search(rf" \+{folded[1]} old ", screen[0])
    row = r"[▌ ][► ](● on  |● flap|◐ late|○ off ) *[0-9]+[smhd]( [0-9]+h)?" r" +([0-9]+[smhd]|–) \S"
    assert [line for line in table if re.match(row, line) is None] == []
    edges = {x for y in body for x in range(columns) if terminal.part(y, x, x + 1) == "▏"}
    assert len(edges) == (1 if columns >= 120 else 0)
    for edge in edges:
        assert all(terminal.part(y, edge, edge + 2) == "▏ " for y in range(1, lines - 2))
        assert re.match(r"▏ [●◐○] (ONLINE|LATE|OFFLINE) for ", terminal.part(2, edge))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A dashboard at 80x24 that is paused, so that what is seen is the answer to the keys. One run for many tests."""
    with demo(tmp_path_factory.mktemp("home"), 80, 24) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("paused: p goes on")
        yield terminal
        quit_with(terminal, "q", 0)


@pytest.fixture
def terminal(still: Terminal) -> Terminal:
    """The same, back at the start."""
    still.press("0", "g")
    still.wait_for(HEADER)
    still.wait_until(lambda: still.cursor_line == 2)
    still.wait_for_no("[0-9]/[0-9]+  ")
    return still


def test_keys_move_the_cursor(terminal: Terminal) -> None:
    names = [cursor_name(terminal)]
    for line in (3, 4):  # or one below, behind the rule
        terminal.press("j")
        terminal.wait_until(partial(is_cursor_from, terminal, line), f"the cursor on line {line}")
        names.append(cursor_name(terminal))
    assert len(set(names)) == 3
    terminal.press("k")
    terminal.wait_until(lambda: cursor_name(terminal) == names[1])
    terminal.press("G")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "the cursor on the last line")
    terminal.press("g")
    terminal.wait_until(lambda: terminal.cursor_line == 2)
    terminal.press("\x04")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "a page down")
    terminal.press("\x15")
    terminal.wait_until(lambda: terminal.cursor_line == 2)


def test_the_detail_pane_opens_over_the_table_and_closes_again(terminal: Terminal) -> None:
    name = cursor_name(terminal)
    terminal.press(ENTER)
    terminal.wait_for("^ no live connection · last sign of life ")
    terminal.wait_for_no(HEADER)
    assert terminal.display[1].strip() == name
    assert terminal.display[2].startswith(" ○ OFFLINE for ")
    terminal.press("G")
    terminal.wait_for("^ org ")
    terminal.press(ESC)
    terminal.wait_for(HEADER)
    assert cursor_name(terminal) == name


def test_filter_words_are_kept_by_enter_and_cleared_by_esc(terminal: Terminal) -> None:
    terminal.press("/laptop")
    terminal.wait_for(r" 3/4\d")
    terminal.wait_until(lambda: len(rows(terminal)) == 3, "three rows")
    assert all("laptop" in row for row in rows(terminal))
    terminal.press(" lukas")
    terminal.wait_for(r" 1/4\d")
    terminal.press(ENTER)
    terminal.wait_for("/ Filter")
    terminal.wait_until(lambda: len(rows(terminal)) == 1, "one row")
    assert cursor_name(terminal) == "lukas-laptop-6"
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    assert cursor_name(terminal) == "lukas-laptop-6"


def test_after_a_filter_the_cursor_stays_visible_on_the_header_of_its_folded_row(
    terminal: Terminal,
) -> None:
    assert "sofia-laptop-4" not in terminal.text
    terminal.press("/sofia-l")
    terminal.wait_for(r" 1/4\d")
    terminal.wait_until(lambda: len(rows(terminal)) == 1, "one row")
    assert cursor_name(terminal) == "sofia-laptop-4"
    terminal.press(ENTER)
    terminal.wait_for("/ Filter")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    terminal.wait_for("^ ►▸ offline for over 24 h  ○ 7")
    terminal.press(ENTER)
    terminal.wait_for("^ ►▾ offline for over 24 h  ○ 7")
    terminal.press("n")
    terminal.wait_for("^ ►○ off ")
    terminal.press("G")
    terminal.wait_until(lambda: terminal.cursor_line == 21, "the cursor at the foot")
    assert " sofia-laptop-4 " in terminal.text


def test_keys_in_one_packet_with_the_slash_go_into_the_filter_bar_only(terminal: Terminal) -> None:
    terminal.press("/quit-r-t-0-1")
    terminal.wait_for("^ quit-r-t-0-1")
    terminal.wait_for("Nothing matches. esc clears the filter")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_digits_show_a_part_of_the_fleet(terminal: Terminal) -> None:
    for key, glyph in (("2", "[●◐]"), ("3", "◐"), ("4", "○")):
        terminal.press(key)
        wait_for_rows(terminal, f"..{glyph}")
        terminal.wait_for("[0-9]/[0-9]+  ")
    terminal.press("0")
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_n_goes_from_problem_to_problem_around_the_end(terminal: Terminal) -> None:
    terminal.press("g", "N")
    terminal.wait_for_cursor(3)
    assert "◐" in terminal.display[3]
    assert terminal.display[4].startswith("── ")
    terminal.press("n")
    terminal.wait_for_cursor(2)
    terminal.press("x", "N")  # what has been offline for long is no problem, open or folded
    terminal.wait_for("^.►◐ late ")
    terminal.press("x")


def test_the_order_can_be_chosen(terminal: Terminal) -> None:
    terminal.press(".")
    terminal.wait_for("sorted by STATE")
    terminal.press("...")
    terminal.wait_for("NAME▲")
    shown = [terminal.part(y, 20, 42).strip().casefold() for y in range(2, 22)]
    assert shown == sorted(shown)
    terminal.press("I")
    terminal.wait_for("NAME▼")
    terminal.press(",")
    terminal.wait_for("BEA▲ NAME")
    terminal.press("0")
    terminal.wait_for_no("SORT|NAME▼|BEA▲")


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
    terminal.wait_for("asking 127.0.0.1:[0-9]+ with the key from the demo itself")
    terminal.wait_for_no(HEADER)
    terminal.press(ESC)
    terminal.wait_for(HEADER)
    terminal.press("E")
    terminal.wait_for("^ It is (offline|unknown, last offline): ")
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
    terminal.wait_for("Export what is shown")
    terminal.press(ENTER)
    terminal.wait_for(r"exported to .*\.json")


def test_the_clipboard_gets_the_name_and_only_when_asked(terminal: Terminal) -> None:
    assert b"\x1b]52;" not in terminal.received
    name = cursor_name(terminal)
    terminal.press("c")
    terminal.wait_for("sent to the clipboard: ")
    sent = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", bytes(terminal.received))
    assert [base64.b64decode(text).decode() for text in sent] == [name]


def test_the_pane_and_sizes_at_120_by_36(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("▏ mode ")
        terminal.press("v")
        terminal.wait_for_no("▏")
        terminal.wait_for("UP +OS +BRANCH")
        terminal.press("v")
        terminal.wait_for("▏ ○ OFFLINE for ")
        first = terminal.display[1].partition("▏")[2]
        terminal.press("j")
        terminal.wait_until(lambda: terminal.display[1].partition("▏")[2] != first, "the pane follows the cursor")
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
            (80, 50, rf"{HEADER}.* WHY *$"),
            (120, 36, rf"{HEADER}.* OS "),
        ):
            terminal.screen.reset()
            terminal.resize(columns, lines)
            terminal.wait_for(pattern)
        assert cursor_name(terminal) == name

        terminal.click(60, 10)
        terminal.wait_until(lambda: terminal.cursor_line == 10, "a click selects")
        terminal.click(20, 1)
        terminal.wait_for("NAME▲")
        quit_with(terminal, "\x03", 130)


def wait_for_every_part_in_its_place(terminal: Terminal) -> None:
    """Wait until the layout is as it must be: some of it may come a frame later."""

    def is_right() -> bool:
        with suppress(AssertionError):
            assert_every_part_is_in_its_place(terminal)
            return True
        return False

    try:
        terminal.wait_until(is_right, "every part in its place")
    except AssertionError:
        assert_every_part_is_in_its_place(terminal)
        raise


def test_every_size_has_its_layout(tmp_path: Path) -> None:
    with demo(tmp_path, 200, 50) as terminal:
        for columns, lines in SIZES:
            if terminal.screen.columns != columns:
                terminal.screen.reset()
                terminal.resize(columns, lines)
            terminal.wait_for("▏ [●◐○] [A-Z]+ for " if columns >= 120 else HEADER)
            terminal.wait_for("^ / Filter")
            wait_for_every_part_in_its_place(terminal)
        beat = first_beat(terminal)
        assert beat
        terminal.wait_until(lambda: first_beat(terminal) != beat, "the age ticks")
        terminal.send_signal(signal.SIGWINCH)
        quit_with(terminal, "q", 0)


@pytest.mark.slow
def test_within_twenty_seconds_the_demo_shows_what_envwatch_is_for(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("e")
        terminal.wait_for("Nothing has happened since|Z ")
        for what in (
            r"mode \w+ → unrestricted !",
            r"went offline · ",
            r"back online after [0-9]+m",
            r"reconnected · new connection",
            r"appeared, online",
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
    """The age of the heartbeat of the first row that is online."""
    return next((match[1] for row in rows(terminal) if (match := re.search(r"● on +[0-9dhms ]+ ([0-9]+s) ", row))), "")


def test_without_colour_and_unicode_every_state_still_reads(tmp_path: Path) -> None:
    environ = {"NO_COLOR": "1"}
    with Terminal.of_envwatch(
        "demo", "--seed", "7", "--no-history", "--no-hints", "--ascii", home=tmp_path, environ=environ
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
        assert_pane_answers_first(terminal, left=76, top=1)
        terminal.screen.reset()
        terminal.resize(80, 50)
        assert_pane_answers_first(terminal, left=1, top=30)
        quit_with(terminal, "q", 0)


def assert_pane_answers_first(terminal: Terminal, *, left: int, top: int) -> None:
    """The name and the state in bold, then what helps with its letter, then the rest; read from the cells."""
    state = re.compile("[○?] (OFFLINE|UNKNOWN) for ")
    terminal.wait_until(lambda: state.match(terminal.part(top + 1, left)), "the state under the name")
    assert cursor_name(terminal).startswith(terminal.part(top, left).strip())
    assert all(terminal.screen.buffer[top + 1][x].bold for x in range(left + 2, left + 9))
    pane = [terminal.part(y, left).rstrip(" ▁▂▃▄▅▆▇█") for y in range(top, terminal.screen.lines - 2)]
    helps = next((y for y, line in enumerate(pane) if line.startswith("do ")), len(pane))
    about = next(y for y, line in enumerate(pane) if re.fullmatch("── about ─+", line))
    assert helps < about
    assert pane[helps].endswith("y l")
    assert all(len(line) <= terminal.screen.columns - left for line in pane)
