"""The status line and the news lines of the real program with attributes, during a fleet's bad night."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import pytest
from support import programs
from support.builders import wire_row
from support.demo_screen import titles_line
from support.faulty_server import says, serving, unlimited
from support.pty_terminal import ESC, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.faulty_server import Faulty

SIZES = [(60, 15), (80, 24), (200, 50)]

DAY_MS = 86_400_000

ORANGE, GREY, YELLOW = "ff8700", "c6c6c6", "ffd75f"
"""Colours of down, unknown and warnings; reversed in a badge."""

REFUSED = "Unauthorized"
BROKEN = f"all connections are taken, ask again later {'and later ' * 11}END"
"""An error message that fits into two lines only at the largest size."""


class Beating(Sequence[dict[str, Any]]):
    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [self._beating(row) for row in self._rows[place]]
        return self._beating(self._rows[place])

    @staticmethod
    def _beating(row: dict[str, Any]) -> dict[str, Any]:
        now = time.time() * 1000
        own = row.get("lastHeartbeat", 0) is None or row["lastHeartbeat"] > now
        return row if own else row | {"lastHeartbeat": now - 3_000, "lastSeenAt": now - 3_000}


def profile_state() -> Beating:
    """Return rows: 34 up, 2 just down, 3 down for a month, and one with an impossible time."""
    now = time.time() * 1000
    rows = [wire_row(f"env-{number}") for number in range(40)]
    for row in rows[:2]:
        row |= {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - 60_000}
    for row in rows[2:5]:
        row |= {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - 30 * DAY_MS}
    rows[5]["lastHeartbeat"] = now + 2 * DAY_MS
    return Beating(rows)


def look(terminal: Terminal, line: int, pattern: str) -> tuple[str, str, bool, bool]:
    """Return foreground, background, bold and reverse of the first match in a line, which must be uniform."""
    found = re.search(pattern, terminal.display[line])
    assert found is not None, (pattern, terminal.text)
    cells = [terminal.screen.buffer[line][x] for x in range(found.start(), found.end())]
    looks = {(cell.fg, cell.bg, cell.bold, cell.reverse) for cell in cells if cell.data != " "}
    assert len(looks) == 1, (pattern, looks, terminal.text)
    return looks.pop()


def badge_colour(terminal: Terminal, pattern: str) -> str:
    foreground, background, _, is_reversed = look(terminal, 0, pattern)
    return foreground if is_reversed else background


def at_each_size(terminal: Terminal, status: str, news: str = "") -> Iterator[tuple[int, int]]:
    """Resize the terminal, wait for the status line and the news, and check the profile."""
    for columns, lines in SIZES:
        terminal.resize(columns, lines)
        terminal.wait_until(
            lambda lines=lines: (  # type: ignore[misc]  # bound to this turn of the loop
                re.search(status, terminal.display[0])
                and re.search(news, terminal.text)
                and terminal.display[lines - 1].startswith(" / Filter")
            ),
            f"{columns}x{lines}: {status} and {news}",
        )
        host = terminal.display[0].split("  ")[0].split(" · ")
        assert host[0] == " default"
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+|127.*….*[0-9]", host[1]), terminal.text
        assert look(terminal, 0, "default")[2], "the profile is bold"
        yield columns, lines


@pytest.fixture
def server() -> Iterator[Faulty]:
    with serving(()) as server:
        server.rows = profile_state()
        yield server


def events(terminal: Terminal) -> str:
    """Return the event log's lines without the repeated event under the cursor; close the log again."""
    terminal.press("e")
    terminal.wait_for("^ events  watched since")
    found = re.sub(r"(?m)^ *[0-9]{4}-[0-9]{2}-[0-9]{2} .*$", "", terminal.text)
    terminal.press(ESC)
    terminal.wait_for("/ Filter  ⏎ Detail")
    return found


def test_a_bad_night_can_be_read_from_the_status_line_and_the_news(tmp_path: Path, server: Faulty) -> None:
    environ = unlimited(server)
    with Terminal.of_envwatch("--interval", "1", home=tmp_path, environ=environ) as terminal:
        _counts_are_those_of_the_rows(terminal)
        _an_empty_list_is_held(terminal, server)
        _a_long_failure_is_in_two_lines_and_whole_in_the_log(terminal, server)
        _a_refused_key_says_what_to_do(terminal, server)
        terminal.resize(200, 50)
        log = events(terminal)
        for begin, end in (
            ("not believed yet: the list came back empty", "hold ended after"),
            ("key refused ·", "key accepted"),
        ):
            assert (log.count(begin), log.count(end)) == (1, 1), log
        assert len(re.findall("polls fail ·.*all connections", log)) == len(re.findall("polls succeed again", log)) == 1


def _counts_are_those_of_the_rows(terminal: Terminal) -> None:
    counts = r"● 34(?: on)?  ○ 2(?: off)?  .*\? 1(?: unknown)?"
    for columns, _ in at_each_size(terminal, counts):
        assert look(terminal, 0, "○ 2")[:3] == (ORANGE, look(terminal, 0, "default")[1], True)
        assert badge_colour(terminal, r"\? 1") == GREY
        terminal.wait_for("^── 34 online · 1 unknown · 3 old ─")
        assert re.match("▌►○ 2 off ", terminal.display[1])
        if columns == 200:
            terminal.wait_for("▸ offline for over 24 h  ○ 3")
            table = terminal.display[titles_line(terminal) + 1 : -3]
            assert [sum(line.startswith(f"  {glyph}") for line in table) for glyph in "●○?"] == [34, 0, 1]


def _an_empty_list_is_held(terminal: Terminal, server: Faulty) -> None:
    rows, server.rows = server.rows, ()
    message = r"(?s)the list came back empty \([0-9:]+\): not\s+believed\s+before.*rows\s+are\s+as\s+of"
    for columns, _ in at_each_size(terminal, " HOLD ", message):
        assert badge_colour(terminal, "HOLD") == YELLOW
        assert "live" not in terminal.display[0]
        assert "● 34" in terminal.display[0], "the rows are still those that were believed"
        if columns > 60:
            assert re.search(f" HOLD empty list {'[0-9]+s ' if columns > 80 else ''}", terminal.display[0])
            assert "STALE" in terminal.display[0] or look(terminal, 0, "data [0-9]+s")[0] == YELLOW
    server.rows = rows
    terminal.wait_for("hold ended after .* a later listing contradicts it")


def _a_long_failure_is_in_two_lines_and_whole_in_the_log(terminal: Terminal, server: Faulty) -> None:
    server.break_every_page(says(500, f'{{"detail":"{BROKEN}"}}'))
    # A resize takes several frames; in the first frames, events are below the message.
    in_two_lines = r"server error:.* next try in [0-9]+s, r tries now\n(.* e: all of it\n / Filter|.* END\n)"
    for columns, _ in at_each_size(terminal, "failing|STALE", in_two_lines):
        line = next(number for number, text in enumerate(terminal.display) if "server error:" in text)
        foreground, background, _, is_reversed = look(terminal, line, "server error:")
        assert (foreground if is_reversed else background) == YELLOW
        assert ("e: all of it" in terminal.text) is (columns < 200)
    terminal.resize(60, 15)
    terminal.wait_for("e: all of it")
    terminal.press("e")
    terminal.wait_for("^ events")
    terminal.wait_for(r"later\s+END$")
    terminal.wait_for("polls fail ·")  # from the second failed poll on
    terminal.press(ESC)
    server.heal()
    terminal.press("r")
    terminal.wait_for("polls succeed again")


def _a_refused_key_says_what_to_do(terminal: Terminal, server: Faulty) -> None:
    server.break_every_page(says(401, f'{{"message":"{REFUSED}"}}'))
    message = r"(?s)key refused: (?=.*next try in [0-9]+s, r tries now).*127[^/]*(still valid\?|e: all of it)"
    for columns, _ in at_each_size(terminal, " KEY REFUSED [0-9]+s ", message):
        assert badge_colour(terminal, "KEY REFUSED") == YELLOW
        assert not re.search("STALE|BLIND|live", terminal.display[0])
        if columns > 60:
            assert re.search(r"Is the key from LETTA_API_KEY right,\s+and still valid\?", terminal.text)
    server.heal()
    terminal.press("r")
    terminal.wait_for("key accepted")


def test_title_list_line_and_check_say_the_numbers_of_the_dashboard(tmp_path: Path, server: Faulty) -> None:
    variables = unlimited(server)
    command = [sys.executable, "-m", "envwatch"]

    def printed(*arguments: str) -> str:
        done = programs.run([*command, *arguments], environment(tmp_path, **variables))
        return f"{done.stdout.decode()}{done.stderr.decode()}"

    printed("silence", "--filter", "id:env-1", "--for", "2h")
    with Terminal.of_envwatch("--interval", "1", home=tmp_path, environ=variables) as terminal:
        terminal.wait_for(r"^── 34 online \(10 silenced\) · 1 unknown · 3 old · 1 silenced ─")
        terminal.press("a\r")
        terminal.wait_for("1 acked")
        terminal.resize(200, 50)
        terminal.wait_for(r"● 34 on  ○ 1 off  .*\? 1 unknown  1 acked")
        titles = re.findall(rb"\x1b\]2;([^\x07\x1b]*)", terminal.received)
        assert titles[-1].decode().split() == ["○1", "?1", "default"]
        assert re.match("○1 ●34 [?]1 127.0.0.1:[0-9]+ [0-9]+s$", printed("list", "-o", "line"))
        assert ": 1 off, 34 on, 1 unknown, 3 old, 1 silenced; incomplete" in printed("list")
        check = printed("check")
        assert "- no problem in 40 environments (1 unknown, 1 acked, 3 old, 1 silenced) |" in check
        data = re.findall("([a-z]+)=([1-9][0-9]*);", check)
        counts = {"offline": "1", "online": "34", "unknown": "1", "old": "3", "silenced": "1"}
        assert {label: value for label, value in data if label != "time"} == counts


def test_a_listing_that_takes_longer_than_the_interval_says_so_and_is_neither_stale_nor_paced_by_the_budget(
    tmp_path: Path,
) -> None:
    with serving(Beating([wire_row(f"env-{number}") for number in range(3)])) as server:
        server.break_every_page(lambda reply: replace(reply, latency=0.7))
        environ = unlimited(server) | {"ENVWATCH_PAGE_SIZE": "1"}
        with Terminal.of_envwatch("--interval", "1", home=tmp_path, environ=environ) as terminal:
            for columns, lines in SIZES[1:]:
                terminal.resize(columns, lines)
                terminal.wait_until(
                    lambda: re.search(
                        r" default .*live [0-9]s.*  a listing takes [3-9]s$", terminal.display[0].rstrip()
                    ),
                    "the reason",
                )
            terminal.press("?")
            terminal.wait_for("polls come every [3-9]s, not every 1s: a listing takes [3-9]s")
            terminal.wait_for("a greater `page_size` may help")
            terminal.press("?")
            server.heal()
            terminal.wait_for_no("a listing takes")
