"""Rules 1 to 4 of the screen on the real program: what a person sees, with the attributes of its cells."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.budget import first_quick
from support.builders import wire_row
from support.byte_scanner import serving, unlimited
from support.pty_terminal import ENTER, Terminal

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from support.faulty_server import Faulty

NAMES = [f"host-{number:02}" for number in range(40)]
STARTED = time.time() * 1000 - 3_600_000
ORANGE = "ff8700"
CURSOR = "3a3a3a"


def rows(lost: Collection[str]) -> list[dict[str, Any]]:
    """Return 40 rows, of which some are offline, and one that has been so for two days."""
    now = time.time() * 1000
    changes: dict[str, Any] = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": STARTED}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - 5_000}
    found = [wire_row(name, connectionName=name, **(changes | down if name in lost else changes)) for name in NAMES]
    return [*found, wire_row("old", connectionName="old", **(down | {"lastSeenAt": now - 172_800_000}))]


def lose(server: Faulty, lost: Collection[str], *terminals: Terminal) -> None:
    server.rows = rows(lost)
    for terminal in terminals:
        terminal.press("r")


def line_of(terminal: Terminal, name: str) -> int:
    return next(y for y, line in enumerate(terminal.display) if f" {name} " in line)


def assert_marks(usual: Terminal, plain: Terminal, ansi: Terminal) -> None:
    """The newest loss, its bar, its tag, and the rule with counts; all of it beside the cursor."""
    for terminal, marks in ((usual, "▌►○"), (plain, "!>x"), (ansi, "▌►○")):
        terminal.wait_for("NEW")
        assert re.match(rf"{re.escape(marks)} off +[0-9]+s +[–-] host-20 +NEW ", terminal.display[2])
        assert re.match("(──|--) 39 online (─|-)+", terminal.display[3])
    place = usual.display[2].index("NEW")
    bar, mark, tag = (usual.screen.buffer[2][x] for x in (0, 1, place))
    assert (bar.fg, tag.fg, tag.bold, mark.bg, tag.bg) == (ORANGE, ORANGE, True, CURSOR, CURSOR)
    assert plain.screen.buffer[2][plain.display[2].index("NEW")].reverse
    tag = ansi.screen.buffer[2][place]
    assert (ansi.screen.buffer[2][0].fg, tag.reverse, "red" in (tag.fg, tag.bg)) == ("red", True, True)


def assert_places(server: Faulty, usual: Terminal) -> None:
    """Whatever happens, the row under a moved cursor keeps its line, and its tag tells it."""
    usual.press("\x04", "kkk")
    usual.wait_until(lambda: usual.cursor_line == 18, "three lines above the last")
    y = usual.cursor_line
    name = usual.display[y][20:].split()[0]
    lose(server, {"host-20", "host-30", "host-31", name}, usual)
    usual.wait_for("▲ 3 problems above$|▲ 3 problems above.$")
    assert not re.search("── .* old ", usual.text)
    assert re.match(rf"▌►○ off .* {name} +NEW ", usual.display[y])
    alarm = usual.screen.buffer[1][usual.display[1].index("▲")]
    assert (alarm.fg, alarm.bold) == (ORANGE, True)

    # It goes where it belongs when the cursor has left it, which does not move what is read.
    usual.press("j")
    usual.wait_until(lambda: usual.cursor_line == y + 1)
    below = usual.display[y + 1][20:].split()[0]
    usual.wait_until(lambda: f" {name} " not in "".join(usual.display[4:-2]), "the row that was left, in the block")
    assert (usual.cursor_line, line_of(usual, below)) == (y + 1, y + 1)
    usual.press("n")
    usual.wait_until(lambda: usual.cursor_line == 2, "the first problem")


def assert_counts(server: Faulty, usual: Terminal) -> None:
    """Behind a filter and in a fold problems are counted; the key for the next one says so, or unfolds."""
    usual.press("/name:host-33", ENTER)
    usual.wait_for(r"WHY +4 hidden\s*$|4 hidden *$")
    usual.press("n")
    usual.wait_for("4 problems hidden by the filter: 0 shows them")
    usual.press("0")
    usual.wait_for("── 36 online")
    usual.press("b", "o", ENTER, "x")
    usual.wait_for("4 in folded groups")
    usual.wait_for("▸ os linux .* 4 problems")
    usual.press("n")
    usual.wait_until(lambda: usual.cursor_line >= 0 and " off " in usual.display[usual.cursor_line])
    usual.wait_for_no("folded groups")

    # Only acknowledged and old ones are left: the answer says precisely that.
    usual.press("0")
    lose(server, (), usual)
    usual.wait_for("● 40 on")
    usual.press("n")
    usual.wait_for(r"no new problems: 1 old \(x unfolds\)")


@pytest.mark.parametrize("is_read", first_quick([False, True]), ids=["unread", "read"])
def test_problems_stand_at_the_top_keep_what_is_read_in_place_and_are_counted_out_of_sight(
    tmp_path: Path, *, is_read: bool
) -> None:
    with serving(rows(())) as server, ExitStack() as stack:

        def start(home: str, *options: str, **environ: str) -> Terminal:
            (tmp_path / home).mkdir()
            command = ("--interval", "10m", *options)
            program = Terminal.of_envwatch(
                *command, home=tmp_path / home, environ=unlimited(server) | {"COLORTERM": "truecolor"} | environ
            )
            terminal = stack.enter_context(program)
            terminal.wait_for("40 on")
            return terminal

        usual = start("usual")
        plain = start("plain", "--ascii", NO_COLOR="1")
        ansi = start("ansi", ENVWATCH_THEME="envwatch-ansi")
        lose(server, {"host-20"}, usual, plain, ansi)

        assert_marks(usual, plain, ansi)
        if is_read:
            assert_places(server, usual)
        else:
            lose(server, {"host-20", "host-30", "host-31", "host-35"}, usual)
            usual.wait_for("── 36 online")
        assert_counts(server, usual)
        for terminal in (usual, plain, ansi):
            terminal.press("q")
            assert terminal.wait_for_end() == 0


TEAL = "87d7ff"


def changing(
    late_since: float, gone: Collection[str] = (), lost: Collection[str] = (), back: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return a late row, one that was offline at first, and 20 others."""
    now = time.time() * 1000
    alive: dict[str, Any] = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": STARTED}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": STARTED}
    slow = {"lastHeartbeat": late_since, "lastSeenAt": late_since, "connectedAt": STARTED}
    found = [wire_row("slow", connectionName="slow", **slow)]
    found.append(wire_row("weak", connectionName="box-weak", **(alive if "weak" in back else alive | down)))
    names = [name for name in NAMES[:20] if name not in gone]
    return [
        *found,
        *(wire_row(name, connectionName=name, **(alive | down if name in lost else alive)) for name in names),
    ]


def assert_tagged(terminal: Terminal, pattern: str, tag: str, colour: str) -> None:
    """The row has a bar and a bold tag of a colour, or the tag in reverse video where there are few colours or none."""
    terminal.wait_for(pattern)
    y = next(y for y, line in enumerate(terminal.display) if re.match(pattern, line))
    bar, mark = terminal.screen.buffer[y][0], terminal.screen.buffer[y][terminal.display[y].index(tag)]
    assert (bar.fg, mark.fg, mark.bold, mark.reverse) == (colour, colour, True, False) or mark.reverse


@pytest.mark.slow
def test_gone_late_and_returned_rows_and_what_is_below_a_small_screen(tmp_path: Path) -> None:
    late_since = time.time() * 1000 - 50_000
    with serving(changing(late_since)) as server, ExitStack() as stack:

        def start(home: str, columns: int, lines: int, *options: str, **environ: str) -> Terminal:
            (tmp_path / home).mkdir()
            environ = unlimited(server) | {"COLORTERM": "truecolor"} | environ
            command = ("--interval", "10m", *options)
            program = Terminal.of_envwatch(
                *command, home=tmp_path / home, columns=columns, lines=lines, environ=environ
            )
            terminal = stack.enter_context(program)
            terminal.wait_for("20 on")
            return terminal

        usual = start("usual", 80, 24)
        small = start("small", 60, 15, "--ascii", NO_COLOR="1")
        ansi = start("ansi", 80, 24, ENVWATCH_THEME="envwatch-ansi")
        for awaited in ("BACK", "gone"):  # two listings that lack a row prove that it is gone
            server.rows = changing(late_since, {"host-07"}, back={"weak"})
            for terminal in (usual, small, ansi):
                terminal.press("r")
            for terminal in (usual, small, ansi):
                terminal.wait_for(awaited)
        for terminal, bar, glyph, late in ((usual, "▌", "·", "◐"), (small, "!", "-", "~"), (ansi, "▌", "·", "◐")):
            assert_tagged(terminal, rf"{bar}.[{glyph}] gone +[0-9]+s +[–-] host-07 +NEW ", "NEW", ORANGE)
            terminal.wait_for(rf"^  {late} late +[0-9]+s +[0-9]+s slow +")
        for terminal in (usual, ansi):
            assert_tagged(terminal, r"▌ ● on .* box-weak +BACK ", "BACK", TEAL)
        assert re.match("── 20 online · 1 changed in 15 min ─", usual.display[4])

        # More problems than lines: they are counted below, then above; why they are down is seen at 60 columns too.
        server.rows = changing(late_since, {"host-07"}, lost=NAMES[:15], back={"weak"})
        small.press("r")
        small.wait_for("v [0-9]+ problems below")
        assert re.match(r"! x off .* disconnected", small.display[3])
        small.press("G")
        small.wait_for(r"\^ [0-9]+ problems above")
        for terminal in (usual, small, ansi):
            terminal.press("q")
            assert terminal.wait_for_end() == 0
