"""The real program on its demo fleet in a real terminal, as a person would look at it and use it."""

from __future__ import annotations

import base64
import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from terminal import ENTER, ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = [(80, 24), (120, 36), (200, 50)]
HEADER = r"^ STATE  BEAT NAME"


@contextmanager
def demo(home: Path, columns: int, lines: int, *options: str) -> Iterator[Terminal]:
    """The dashboard on the demo fleet, its first listing drawn."""
    with Terminal.of_envwatch("demo", "--seed", "7", *options, home=home, columns=columns, lines=lines) as terminal:
        terminal.wait_for(HEADER)
        terminal.wait_for("● [0-9]+ on .*○ [0-9]+ off")
        terminal.wait_until(lambda: cursor_line(terminal) == 2, "the cursor on the first row")
        yield terminal


def cursor_line(terminal: Terminal) -> int | None:
    """The line of the screen on which the table's cursor stands."""
    return next((y for y, line in enumerate(terminal.display) if line.startswith("▌")), None)


def cursor_name(terminal: Terminal) -> str:
    """The name of the environment under the cursor, as far as the table shows it."""
    line = cursor_line(terminal)
    assert line is not None, terminal.text
    return terminal.part(line, 13, 37).rstrip()


def rows(terminal: Terminal) -> list[str]:
    """The lines of the table."""
    return [line for line in terminal.display if re.match(r"[▌ ][●◐○·?] ", line)]


def quit_with(terminal: Terminal, key: str, code: int) -> None:
    terminal.press(key)
    assert terminal.wait_for_end() == code
    for mode in ("1049", "1000", "1003", "1006", "2004"):
        assert terminal.received.rfind(f"\x1b[?{mode}l".encode()) > terminal.received.rfind(f"\x1b[?{mode}h".encode())
    assert terminal.received.rfind(b"\x1b[?25h") > terminal.received.rfind(b"\x1b[?25l")


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_the_first_screen_has_every_part_in_its_place(tmp_path: Path, columns: int, lines: int) -> None:
    with demo(tmp_path, columns, lines) as terminal:
        if columns >= 120:
            terminal.wait_for("▏ mode ")
        terminal.wait_for("no events yet")
        screen = terminal.display
        assert re.search(r"demo · 127\.0\.0\.1:[0-9]+  ● [0-9]+ on  ◐ 1 late  ○ [0-9]+ off", screen[0])
        assert re.search(r"live [0-9]s( +every 5s)? ?$", screen[0].rstrip())
        assert screen[1].startswith(" STATE  BEAT NAME")
        assert screen[-2].startswith(" no events yet: the first listing is the baseline")
        assert screen[-1].startswith(" / Filter  ⏎ Detail")
        assert all(
            re.match(r"[▌ ](● on  |◐ late|○ off ) +[0-9]+[smhd] \S", line) for line in screen[2:-2] if line.strip(" ▏")
        )
        if columns >= 120:
            edges = {
                cells.index("▏")
                for y in range(1, lines - 2)
                if (cells := [terminal.part(y, x, x + 1) for x in range(columns)])
            }
            assert len(edges) == 1
            assert [line for line in screen if "▏ why " in line]
        assert not any("▏" in line for line in (screen[0], screen[-2], screen[-1]))


def test_a_person_finds_their_way_at_80_by_24(tmp_path: Path) -> None:
    with demo(tmp_path, 80, 24) as terminal:
        # Pausing keeps the fleet still, so that what is seen is the answer to the keys.
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("paused: p goes on")

        names = [cursor_name(terminal)]
        for line in (3, 4):
            terminal.press("j")
            terminal.wait_until(lambda line=line: cursor_line(terminal) == line, f"the cursor on line {line}")
            names.append(cursor_name(terminal))
        assert len(set(names)) == 3
        terminal.press("k")
        terminal.wait_until(lambda: cursor_line(terminal) == 3)
        terminal.press("G")
        terminal.wait_until(lambda: cursor_line(terminal) == 21, "the cursor on the last line")
        terminal.press("g")
        terminal.wait_until(lambda: cursor_line(terminal) == 2)
        terminal.press("\x04")
        terminal.wait_until(lambda: cursor_line(terminal) == 12, "half a page down")
        terminal.press("\x15")
        terminal.wait_until(lambda: cursor_line(terminal) == 2)

        # The detail pane opens over the table and closes again.
        name = cursor_name(terminal)
        terminal.press(ENTER)
        terminal.wait_for(r"^ why +")
        terminal.wait_for_no(HEADER)
        assert terminal.display[1].strip() == name
        assert re.search(r"○ offline +▁▁▁▁ 4 missed", terminal.display[2])
        terminal.press("G")
        terminal.wait_for("^ supportsPaired|^ commands|^ environmentMessage")
        terminal.press(ESC)
        terminal.wait_for(HEADER)
        assert cursor_name(terminal) == name

        # Filter: words, kept by enter, cleared by esc.
        terminal.press("/laptop")
        terminal.wait_for(r"FILTER 4/4\d")
        assert len(rows(terminal)) == 4
        assert all("laptop" in row for row in rows(terminal))
        terminal.press(" sofia")
        terminal.wait_for(r"FILTER 1/4\d")
        terminal.press(ENTER)
        terminal.wait_for("/ Filter")
        assert [cursor_name(terminal), len(rows(terminal))] == ["sofia-laptop-4", 1]
        terminal.press(ESC)
        terminal.wait_for_no("FILTER")
        assert cursor_name(terminal) == "sofia-laptop-4"
        terminal.press("/nothing-has-this-name")
        terminal.wait_for("Nothing matches. esc clears the filter")
        terminal.press(ESC)
        terminal.wait_for_no("FILTER")

        # Presets.
        for key, glyph in (("2", "[●◐]"), ("3", "◐"), ("4", "○")):
            terminal.press(key)
            terminal.wait_until(
                lambda glyph=glyph: rows(terminal) and all(re.match(f".{glyph}", row) for row in rows(terminal)), key
            )
            terminal.wait_for("FILTER")
        terminal.press("0")
        terminal.wait_for_no("FILTER")

        # Problems, in both directions and around the end.
        terminal.press("g", "N")
        terminal.wait_until(lambda: (cursor_line(terminal) or 0) > 8)
        assert "◐" in terminal.display[cursor_line(terminal) or 0]
        terminal.press("n")
        terminal.wait_until(lambda: cursor_line(terminal) == 2)

        # Sorting.
        terminal.press(".")
        terminal.wait_for("sorted by STATE")
        terminal.press(".")
        terminal.wait_for("NAME▲")
        shown = [terminal.part(y, 13, 37).strip().casefold() for y in range(2, 22)]
        assert shown == sorted(shown)
        terminal.press("I")
        terminal.wait_for("NAME▼")
        terminal.press(",")
        terminal.wait_for("BEAT▲")
        terminal.press("0")
        terminal.wait_for_no("▲")

        # Times, interval, help, explain.
        terminal.press("t")
        terminal.wait_for("times: local")
        terminal.press("t")
        terminal.wait_for("times: UTC")
        terminal.press("+")
        terminal.wait_for("polling every 10 s")
        terminal.press("-", "-")
        terminal.wait_for("polling every 2 s")
        terminal.press("?")
        terminal.wait_for("asking 127.0.0.1:[0-9]+ with the key from the demo itself")
        terminal.wait_for_no(HEADER)
        terminal.press(ESC)
        terminal.wait_for(HEADER)
        terminal.press("E")
        terminal.wait_for("why is it offline?")
        terminal.wait_for(r"→ offline: disconnected|→ ≥ 120,000 ms: heartbeat lost")
        terminal.press(ESC)
        terminal.wait_for(HEADER)

        # The palette runs what it offers.
        terminal.press(":")
        terminal.wait_for("Search for commands")
        terminal.press("show late")
        terminal.wait_for("Show late")
        terminal.press(ENTER)
        terminal.wait_for("FILTER 1/")
        terminal.press("0")
        terminal.wait_for_no("FILTER")

        # The clipboard gets the name, and only now.
        assert b"\x1b]52;" not in terminal.received
        name = cursor_name(terminal)
        terminal.press("c")
        terminal.wait_for("sent to the clipboard: ")
        sent = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", bytes(terminal.received))
        assert [base64.b64decode(text).decode() for text in sent] == [name]

        quit_with(terminal, "q", 0)


def test_the_pane_and_sizes_at_120_by_36(tmp_path: Path) -> None:
    with demo(tmp_path, 120, 36) as terminal:
        terminal.press("p")
        terminal.wait_for("PAUSED")
        terminal.wait_for("▏ mode ")
        terminal.press("v")
        terminal.wait_for_no("▏")
        terminal.wait_for("UP +OS +USER")
        terminal.press("v")
        terminal.wait_for("▏ why ")
        first = terminal.display[1].partition("▏")[2]
        terminal.press("j")
        terminal.wait_until(lambda: terminal.display[1].partition("▏")[2] != first, "the pane follows the cursor")
        terminal.press(ENTER)
        terminal.wait_for("▏ ")
        terminal.press("G")
        terminal.wait_for("▏ environmentMessage|▏ supportsPaired")
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
        assert cursor_name(terminal) == name

        terminal.click(60, 10)
        terminal.wait_until(lambda: cursor_line(terminal) == 10, "a click selects")
        terminal.click(15, 1)
        terminal.wait_for("NAME▲")
        quit_with(terminal, "\x03", 130)


def test_within_twenty_seconds_the_demo_shows_what_envwatch_is_for(tmp_path: Path) -> None:
    with demo(tmp_path, 200, 50) as terminal:
        beat = cursor_age(terminal)
        terminal.wait_until(lambda: cursor_age(terminal) != beat, "the age ticks", within=3)
        terminal.press("e")
        terminal.wait_for("Nothing has happened yet|Z ")
        for what in (
            r"mode \w+ → unrestricted !",
            r"went offline · ",
            r"back online after [0-9]+m",
            r"reconnected · new connection",
            r"appeared, online",
        ):
            terminal.wait_for(what, within=22)
        terminal.press("G", ENTER)
        terminal.wait_for(HEADER)
        terminal.press("?")
        terminal.wait_for("asking ")
        terminal.press("q")
        terminal.wait_for(HEADER)
        terminal.wait_for(" Δ ")
        terminal.send_signal(signal.SIGWINCH)
        quit_with(terminal, "q", 0)


def cursor_age(terminal: Terminal) -> str:
    """The age of the youngest heartbeat: the others are told in minutes."""
    return next((match[0] for row in rows(terminal) if (match := re.search(r"● on +[0-9]+s", row))), "")


def test_a_burst_of_keys_behind_the_slash_goes_into_the_filter_and_nowhere_else(tmp_path: Path) -> None:
    with demo(tmp_path, 80, 24) as terminal:
        terminal.press("/quit-p-r-t-0-1")
        terminal.wait_for("FILTER 0/4")
        terminal.wait_for("^ quit-p-r-t-0-1")
        assert terminal.process.poll() is None
        assert "PAUSED" not in terminal.text


def test_ascii_terminals_get_ascii_signs(tmp_path: Path) -> None:
    with Terminal.of_envwatch("demo", "--seed", "7", "--ascii", "--size", "12", home=tmp_path) as terminal:
        terminal.wait_for(r"^>[x~+] (off|late|on) ")
        terminal.wait_until(lambda: terminal.display[-1].strip(), "the last line")
        assert not set("●◐○▌Δ↓▲▼·…▾▸") & set("".join(terminal.display[:-1]))


def test_without_colour_every_state_still_reads(tmp_path: Path) -> None:
    with Terminal.of_envwatch("demo", "--seed", "7", home=tmp_path, environ={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("● on ")
        terminal.wait_for("○ off ")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    colours = {
        int(value)
        for codes in re.findall(rb"\x1b\[[0-9;]*?[34]8;5;([0-9]+)[0-9;]*m", bytes(terminal.received))
        for value in [codes]
    }
    greys = {0, 7, 8, 15, 16, 59, 102, 145, 188, 231, *range(232, 256)}
    assert colours <= greys
