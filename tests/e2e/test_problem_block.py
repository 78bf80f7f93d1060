"""Rules 1 to 6 of the screen on the real program, with the cells' attributes."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.budget import first_quick
from support.builders import wire_row
from support.faulty_server import serving, unlimited
from support.losses import USUAL, Fleet, watched
from support.pty_terminal import ENTER, Terminal

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from support.faulty_server import Faulty

NAMES = [f"host-{number:02}" for number in range(40)]
STARTED = time.time() * 1000 - 3_600_000
ORANGE = "ff8700"
TEAL = "87d7ff"
CURSOR = "3a3a3a"


def rows(lost: Collection[str]) -> list[dict[str, Any]]:
    """Return 40 rows: `lost` offline, and one row offline for two days."""
    now = time.time() * 1000
    changes: dict[str, Any] = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": STARTED}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - 5_000}
    found = [wire_row(name, connectionName=name, **(changes | down if name in lost else changes)) for name in NAMES]
    return [*found, wire_row("old", connectionName="old", **(down | {"lastSeenAt": now - 172_800_000}))]


def lose(server: Faulty, lost: Collection[str], *terminals: Terminal) -> None:
    server.rows = rows(lost)
    for terminal in terminals:
        terminal.press("r")


def assert_marks(usual: Terminal, plain: Terminal, ansi: Terminal) -> None:
    """Assert the loss with bar, tag and reason below the status line, next to the cursor; then the rule."""
    for terminal, marks in ((usual, "▌►○"), (plain, "!>x"), (ansi, "▌►○")):
        terminal.wait_for(rf"^{re.escape(marks)} off +[0-9]+s NEW +host-20 +disconnected$")
        assert " host-20 " in terminal.display[1]
        assert re.match("(── 39 online · 1 old ─|-- 39 online . 1 old -)", terminal.display[2])
        assert terminal.display[3].startswith("  STATE    FOR BEAT NAME ")
    place = usual.display[1].index("NEW")
    bar, mark, tag = (usual.screen.buffer[1][x] for x in (0, 1, place))
    assert (bar.fg, tag.fg, tag.bold, mark.bg, tag.bg) == (ORANGE, ORANGE, True, CURSOR, CURSOR)
    assert plain.screen.buffer[1][plain.display[1].index("NEW")].reverse
    tag = ansi.screen.buffer[1][place]
    assert (ansi.screen.buffer[1][0].fg, tag.reverse, "red" in (tag.fg, tag.bg)) == ("red", True, True)


def assert_one_place(server: Faulty, usual: Terminal) -> None:
    """The cursor follows a row into the block and stays on the line when the row returns; the table omits the row."""
    usual.press("jjj")
    usual.wait_for("^ ►● on .* host-02 ")
    lose(server, {"host-20", "host-02"}, usual)
    usual.wait_for(r"^▌►○ (2 )?off +[0-9]+s NEW +.*host-02\b.* disconnected$")
    assert sum("host-02" in line for line in usual.display[:-2]) == 1
    lose(server, (), usual)
    usual.wait_for(r"^▌►● .*back .* BACK +.*host-02\b")
    assert_tagged(usual, "^▌►● .*back ", "BACK", TEAL)
    assert sum("host-02" in line for line in usual.display[:-2]) == 1


def assert_an_answer_where_nobody_is_needed(server: Faulty, usual: Terminal) -> None:
    lose(server, {"host-30"}, usual)
    usual.wait_for("NEW +host-30 ")
    usual.press("n")
    usual.wait_for("^▌►○ off .* host-30 ")
    usual.press("a")
    usual.wait_for("Acknowledge host-30")
    usual.press("disk swap", ENTER)
    usual.wait_for("^ ►✓ off .* host-30 .*disk swap")
    assert usual.screen.buffer[usual.cursor_line][0].fg != ORANGE
    usual.press("n")
    usual.wait_for("nothing needs a person: 1 acknowledged, 1 old")


@pytest.mark.parametrize("is_long", first_quick([False, True]), ids=["marks", "all"])
def test_losses_stand_in_the_block_with_marks_and_in_one_place(tmp_path: Path, *, is_long: bool) -> None:
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
        for terminal in (usual, plain, ansi):
            assert re.match("(──|--) 40 online ", terminal.display[1]), "the block takes no line"
        lose(server, {"host-20"}, usual, plain, ansi)
        assert_marks(usual, plain, ansi)
        if is_long:
            assert_one_place(server, usual)
            assert_an_answer_where_nobody_is_needed(server, usual)
        for terminal in (usual, plain, ansi):
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def block_of(terminal: Terminal) -> list[str]:
    lines = terminal.display[1:]
    return lines[: next((y for y, line in enumerate(lines) if re.match("──| +STATE ", line)), 0)]


def test_the_block_takes_a_third_of_the_screen_and_counts_the_lines_without_room(tmp_path: Path) -> None:
    with watched(tmp_path, Fleet(USUAL, older=12)) as terminal:
        for columns, lines, most in ((80, 50, 12), (80, 24, 8), (60, 15, 3), (40, 8, 2)):
            terminal.resize(columns, lines)
            for keys in ("g", "G", "n", "n"):
                terminal.press(keys)
                terminal.wait_until(lambda most=most: len(block_of(terminal)) == most, f"{most} lines")  # type: ignore[misc]
                block = block_of(terminal)
                assert "older-01" in block[0], "the newest loss"
                left = 12 - sum(" older-" in line for line in block)
                if most > 2:  # of two lines, one is the cursor's
                    assert re.match(rf" \+{left} more · n *$" if left else ".* older-12 ", block[-1])
            assert (terminal.display[most + 1][:2] == "──") is (lines > 9)
            terminal.wait_until(
                lambda most=most: terminal.cursor_line in range(1, most + 1),  # type: ignore[misc]
                "n leads to a line that is then in view",
            )


def changing(late_since: float, gone: Collection[str] = (), back: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return a late row, a row that was offline at first, and 20 more."""
    now = time.time() * 1000
    alive: dict[str, Any] = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": STARTED}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": STARTED}
    slow = {"lastHeartbeat": late_since, "lastSeenAt": late_since, "connectedAt": STARTED}
    found = [wire_row("slow", connectionName="slow", **slow)]
    found.append(wire_row("weak", connectionName="box-weak", **(alive if "weak" in back else alive | down)))
    found += (wire_row(name, connectionName=name, **alive) for name in NAMES[:20] if name not in gone)
    return found


def assert_tagged(terminal: Terminal, pattern: str, tag: str, colour: str) -> None:
    """Assert a bar and a bold coloured tag, or a tag in reverse video with few colours or none."""
    terminal.wait_for(pattern)
    y = next(y for y, line in enumerate(terminal.display) if re.match(pattern, line))
    bar, mark = terminal.screen.buffer[y][0], terminal.screen.buffer[y][terminal.display[y].index(tag)]
    assert (bar.fg, mark.fg, mark.bold, mark.reverse) == (colour, colour, True, False) or mark.reverse


@pytest.mark.slow
def test_gone_and_returned_rows_stand_in_the_block_and_late_rows_below(tmp_path: Path) -> None:
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
            terminal.wait_for("^ default .*[●+] 20 ")
            return terminal

        usual = start("usual", 80, 24)
        small = start("small", 60, 15, "--ascii", NO_COLOR="1")
        ansi = start("ansi", 80, 24, ENVWATCH_THEME="envwatch-ansi")
        for awaited in ("BACK", "gone"):  # two listings without a row prove that the row is gone
            server.rows = changing(late_since, {"host-07"}, back={"weak"})
            for terminal in (usual, small, ansi):
                terminal.press("r")
            for terminal in (usual, small, ansi):
                terminal.wait_for(awaited)
        for terminal, bar, glyph, late in ((usual, "▌", "·", "◐"), (small, "!", "-", "~"), (ansi, "▌", "·", "◐")):
            assert_tagged(terminal, rf"{bar}.[{glyph}] gone +[0-9]+s NEW +host-07\b", "NEW", ORANGE)
            terminal.wait_for(rf"^..{late} late +[0-9]+s +[0-9]+s slow +")
        for terminal in (usual, ansi):
            assert_tagged(terminal, r"▌.● back .* BACK +box-weak\b", "BACK", TEAL)
        for terminal in (usual, small, ansi):
            terminal.press("q")
            assert terminal.wait_for_end() == 0
