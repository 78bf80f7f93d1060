"""Bad nights on the real program: status line, news, block, title and bell, without a key pressed or with few."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.builders import wire_rows
from support.byte_scanner import kinds_in
from support.demo_screen import titles_line
from support.faulty_server import credentials, down, says, serving, unlimited, up
from support.load import scaled
from support.pty_terminal import ESC, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from support.faulty_server import Faulty


# -- each poll of a night ----------------------------------------------------------------------------------------------
POD = [f"db-{number:02}" for number in range(14)]
OTHERS = [f"web-{number:03}" for number in range(186)]

CONFIG = """
interval = "1s"
page_size = 250
requests_per_minute = 6000
"""


@dataclass
class Fleet:
    lost_at: dict[str, float] = field(default_factory=dict)
    """Last sign of life by id, in milliseconds."""
    back_at: dict[str, float] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    is_empty: bool = False
    at_once: RLock = field(default_factory=RLock)
    """Held over changes for the same listing."""

    def rows(self, now: float) -> list[dict[str, Any]]:
        with self.at_once:
            ids = () if self.is_empty else (*POD, *OTHERS)
            return [self._row(id_, now) for id_ in ids if id_ not in self.deleted]

    def _row(self, id_: str, now: float) -> dict[str, Any]:
        changes: dict[str, Any] = {"podId": "p-7" if id_ in POD else f"p-{ord(id_[-1]) % 5}"}
        changes["connectionName"] = self.names.get(id_, id_)
        if (at := self.lost_at.get(id_)) is not None:
            return down(id_, at, **changes)
        if (at := self.back_at.get(id_)) is not None:
            changes |= {"connectedAt": at, "connectionId": f"again-{id_}"}
        return up(id_, now, **changes)

    def lose(self, *ids: str) -> None:
        self.lost_at |= dict.fromkeys(ids, time.time() * 1000 - 6_000)

    def bring_back(self, *ids: str) -> None:
        with self.at_once:
            self.lost_at = {id_: at for id_, at in self.lost_at.items() if id_ not in ids}
            self.back_at |= dict.fromkeys(ids, time.time() * 1000)


@dataclass(frozen=True)
class Seen:
    """The visible screen, without parts that change every second."""

    status: str = "● 200 on live"
    block: str = ""
    rule: str = "200 on"
    tags: Mapping[str, int] = field(default_factory=dict)
    """The number of visible rows by tag (after the row's bar)."""
    cursor: str = "web-060"
    """Name of the table row under the cursor; empty if the cursor is in the block."""
    newest: str = "nothing has changed since TIME, when envwatch began to watch"


_ROW = re.compile(
    r"(?P<bar>[▌ ])(?P<cursor>[► ])\S \w+ +[0-9dhms ]+ +[0-9]*[–s] (?P<name>\S+) +(?P<tag>[A-Z]*) +standard"
)
_AGE = re.compile(r"\b[0-9]+[ms]( [0-9]+s)?(/1s)?( ago)?\b")

_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}")


def seen_on(terminal: Terminal) -> Seen:
    display, titles = terminal.display, titles_line(terminal)
    rows = [row for row in map(_ROW.match, display[titles + 1 :]) if row]
    return Seen(
        status=_text(re.sub("^ \\S+ · \\S+ +", "", display[0])),
        block=_text(" ".join(display[1 : titles - 1])),
        rule=display[titles - 1].strip("─ "),
        tags=Counter(row["bar"] + row["tag"] for row in rows if row["tag"]),
        cursor=next((row["name"] for row in rows if row["cursor"] == "►"), ""),
        newest=_text(" ".join(display[titles + 1 + len(rows) : -1])),
    )


def _text(shown: str) -> str:
    return " ".join(_AGE.sub("", _CLOCK.sub("TIME", shown)).split())


def expect(terminal: Terminal, seen: Seen, *, lines: Sequence[int] = (1,)) -> None:
    """Wait for a screen; in every frame meanwhile, the cursor must stand on a line of `lines`.

    Block and table are drawn in two steps, so a frame in between may have no cursor.
    """

    def is_seen() -> bool:
        found = [y for y, text in enumerate(terminal.display) if text[1] == "►"]
        assert len(found) <= 1, terminal.text
        assert {*found} <= {*lines}, terminal.text
        return seen_on(terminal) == seen

    try:
        terminal.wait_until(is_seen, f"{seen}")
    except AssertionError:
        assert seen_on(terminal) == seen, terminal.text
        raise


@pytest.mark.slow
def test_a_night_shows_at_each_poll_what_is_wrong_and_moves_nothing(tmp_path: Path) -> None:
    fleet = Fleet()
    config = tmp_path / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    with serving(fleet.rows) as server:
        environ = credentials(server) | {"ENVWATCH_CONFIG": str(config)}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("200 on")
            terminal.press("\x04" * 4, "kk")
            terminal.wait_for("►● on .* web-060 ")
            expect(terminal, quiet := Seen(), lines=(19,))
            lost = lose_a_pod(terminal, fleet, quiet)
            lost = change_it(terminal, fleet, lost)
            hide_it(terminal, fleet, server, lost)
            end_it(terminal, fleet, lost)
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def lose_a_pod(terminal: Terminal, fleet: Fleet, quiet: Seen) -> Seen:
    """The losses take one line above the table; one key goes to that line, and one key to the table's top."""
    fleet.lose(*POD)
    lost = replace(
        quiet,
        status="○ 14 page ● 186 on live",
        block="▌ ○ 14 off NEW pod p-7: db-00, db-01, db-02 and 11 more disconnected",
        rule="186 on",
        newest="○ 14 went offline together: all pod p-7",
    )
    expect(terminal, lost, lines=(19, 20))
    terminal.press("n")
    lost = replace(lost, block=lost.block.replace("▌ ", "▌►"), cursor="")
    expect(terminal, lost, lines=(20, 1))
    return lost


def change_it(terminal: Terminal, fleet: Fleet, lost: Seen) -> Seen:
    """Two rows return to the table, and a lost row is renamed."""
    terminal.press("g")
    terminal.wait_for("^  ● on .* web-000 ")
    fleet.bring_back("db-03", "db-04")
    lost = replace(
        lost,
        status="○ 12 page ● 188 on live",
        block="▌►○ 12 of 14 off NEW pod p-7: db-00, db-01, db-02 and 9 more disconnected",
        rule="188 on",
        tags={"▌BACK": 2},
        newest="○ 14 went offline together: all pod p-7 2 back",
    )
    expect(terminal, lost)
    fleet.names = {"db-00": "zeta"}
    lost = replace(lost, block="▌►○ 12 of 14 off NEW pod p-7: db-01, db-02, db-05 and 9 more disconnected")
    expect(terminal, lost)
    return lost


def hide_it(terminal: Terminal, fleet: Fleet, server: Faulty, lost: Seen) -> None:
    """While the key is refused and while the list is empty, only the notices change."""
    server.break_page(0, says(401, '{"message":"Unauthorized"}'))
    host = server.url.removeprefix("http://")
    refused = (
        f"key refused: {host} answered 401: Unauthorized. Is the key from LETTA_API_KEY right, and still valid? "
        "a new key needs a restart"
    )
    # The second line of the message takes the place of the last row.
    status = lost.status.replace("live", "KEY REFUSED")
    expect(terminal, replace(lost, status=status, newest=refused))
    server.heal()
    terminal.press("r")
    expect(terminal, lost)
    fleet.is_empty = True
    held = "the list came back empty (TIME): not believed before TIME; the table is as of TIME. Press r to ask now."
    # The badge takes the place of words.
    held_seen = replace(lost, status="○ 12 page ● 188 on DATA ? held data", newest=held)
    expect(terminal, held_seen)
    fleet.is_empty = False
    expect(terminal, lost)


def end_it(terminal: Terminal, fleet: Fleet, lost: Seen) -> None:
    """One row is deleted; then all return, and the cursor is still on the incident's line."""
    fleet.deleted = {"db-05"}
    gone = replace(
        lost,
        status="○ 12 page ● 188 on live",
        block="▌►○ 12 of 14 lost NEW db-01 and 11 more 11 disconnected · 1 not listed",
    )
    expect(terminal, gone)
    with fleet.at_once:
        fleet.deleted = set()
        fleet.bring_back(*fleet.lost_at)
    over = Seen(
        block="▌►● 14 back BACK pod p-7: db-01, db-02, db-03, db-04, db-05 and 9 more",
        tags={"▌BACK": 13},
        cursor="",
        newest="● 11 came back together: zeta, db-01, db-02, db-06 and 7 more",
    )
    expect(terminal, over)


# -- status line and news ----------------------------------------------------------------------------------------------
SIZES = [(60, 15), (80, 24), (200, 50)]

DAY_MS = 86_400_000

LOSS, GREY, YELLOW = "ff8787", "c6c6c6", "ffd75f"
"""Colours of down, unknown and warnings; reversed in a badge."""

REFUSED = "Unauthorized"
BROKEN = f"all connections are taken, ask again later {'and later ' * 11}END"
"""An error message that fits into two lines only at the largest size."""


def rows() -> Callable[[float], list[dict[str, Any]]]:
    """Return a listing by time: 34 rows up, 2 just down, 3 down for a month, and one with an impossible time."""
    started = time.time() * 1000
    lost_at = [started - 60_000] * 2 + [started - 30 * DAY_MS] * 3

    def listing(now: float) -> list[dict[str, Any]]:
        found = [up(f"env-{number}", now, connectionName="hiro-laptop") for number in range(40)]
        found[:5] = [down(f"env-{number}", at, connectionName="hiro-laptop") for number, at in enumerate(lost_at)]
        found[5]["lastHeartbeat"] = now + 2 * DAY_MS
        return found

    return listing


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
    with serving(rows()) as running:
        yield running


def events(terminal: Terminal) -> str:
    """Return the event log's lines without the repeated event under the cursor; close the log again."""
    terminal.press("e")
    terminal.wait_for("^ events  watched since")
    found = re.sub(r"(?m)^ *[0-9]{4}-[0-9]{2}-[0-9]{2} .*$", "", terminal.text)
    terminal.press(ESC)
    terminal.wait_for("/ Filter  ⏎ Detail")
    return found


@pytest.mark.slow
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
    counts = r"○ 2(?: page)?  ● 34(?: on)?  .*\? 1(?: unknown)?"
    for columns, _ in at_each_size(terminal, counts):
        assert look(terminal, 0, "○ 2")[:3] == (LOSS, look(terminal, 0, "default")[1], True)
        assert badge_colour(terminal, r"\? 1") == GREY
        terminal.wait_for("^── 34 on · 1 unknown · 3 old ─")
        assert re.match("▌►○ 2 off ", terminal.display[1])
        if columns == 200:
            terminal.wait_for("▸ off for over 24 h  ○ 3")
            table = terminal.display[titles_line(terminal) + 1 : -3]
            assert [sum(line.startswith(f"  {glyph}") for line in table) for glyph in "●○?"] == [34, 0, 1]


def _an_empty_list_is_held(terminal: Terminal, server: Faulty) -> None:
    listing, server.script = server.script, lambda _: ()
    message = r"(?s)the list came back empty \([0-9:]+\): not\s+believed\s+before.*table\s+is\s+as\s+of"
    for columns, _ in at_each_size(terminal, r" DATA \? held ", message):
        assert badge_colour(terminal, r"DATA \?") == YELLOW
        assert "live" not in terminal.display[0]
        assert re.search("● 34|34 on", terminal.text), "the rows are still those that were believed"
        if columns > 60:
            assert re.search(r" DATA \? held [0-9]+s ", terminal.display[0])
            assert look(terminal, 0, "data [0-9]+s")[0] == YELLOW
    server.script = listing
    terminal.wait_for("hold ended after .* a later poll contradicts it")


def _a_long_failure_is_in_two_lines_and_whole_in_the_log(terminal: Terminal, server: Faulty) -> None:
    server.break_every_page(says(500, f'{{"detail":"{BROKEN}"}}'))
    # A resize takes several frames; in the first frames, events are below the message.
    whole = r" *END +next try in [0-9]+s, r tries now\n"
    in_two_lines = rf"server error:.*\n({whole}|.* next try in [0-9]+s +e: all of it\n / Filter)"
    for columns, _ in at_each_size(terminal, r"DATA \? (failing|stale)", in_two_lines):
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
    message = r"(?s)key refused: (?=.*a new key needs a restart).*127[^/]*(still\s+valid\?|e: all of it)"
    for columns, _ in at_each_size(terminal, " KEY REFUSED [0-9]+s ", message):
        assert badge_colour(terminal, "KEY REFUSED") == YELLOW
        assert not re.search("stale|BLIND|live", terminal.display[0])
        if columns > 60:
            assert re.search(r"Is\s+the\s+key\s+from\s+LETTA_API_KEY\s+right,\s+and\s+still\s+valid\?", terminal.text)
    server.heal()
    terminal.press("r")
    terminal.wait_for("key accepted")


def test_title_list_and_check_say_the_numbers_of_the_dashboard_with_a_silence_by_hours(
    tmp_path: Path, server: Faulty
) -> None:
    hours = "-".join(f"{datetime.now(UTC) + timedelta(minutes=minutes):%H:%M}" for minutes in (-60, 61))
    quiet = f'[{{ filter = "id:env-1", hours = "{hours}" }}]'
    variables = unlimited(server) | {"ENVWATCH_SILENCES": quiet, "ENVWATCH_TIMEZONE": "UTC"}
    command = [sys.executable, "-m", "envwatch"]

    def printed(*arguments: str) -> str:
        done = programs.run([*command, *arguments], environment(tmp_path, **variables))
        return f"{done.stdout.decode()}{done.stderr.decode()}"

    with Terminal.of_envwatch("--interval", "1", home=tmp_path, environ=variables) as terminal:
        terminal.wait_for(r"^── 34 on · 1 unknown · 3 old · 1 silenced ─")
        terminal.press("a\r")
        terminal.wait_for("1 acked")
        terminal.resize(200, 50)
        terminal.wait_for(r"○ \+[0-9] off  ● 34 on  \? 1 unknown  1 acked")
        titles = re.findall(rb"\x1b\]2;([^\x07\x1b]*)", terminal.received)
        assert titles[-1].decode().split() == ["○+2", "?1", "default"]
        assert re.match(r"○\+2 ●34 [?]1 127.0.0.1:[0-9]+ [0-9]+s$", printed("list", "-o", "line"))
        assert ": 1 off, 34 on, 1 unknown, 3 old, 1 silenced; incomplete" in printed("list")
        assert f'"reason":"silenced until {hours[6:]}"' in printed("list", "-o", "json").replace('": "', '":"')
        check = printed("check")
        assert "- none of 40 machines paging (1 unknown, 1 acked, 3 old, 1 silenced) |" in check
        data = re.findall("([a-z]+)=([1-9][0-9]*);", check)
        counts = {"off": "1", "on": "34", "unknown": "1", "old": "3", "silenced": "1"}
        assert {label: value for label, value in data if label != "time"} == counts


@pytest.mark.slow
def test_a_listing_slower_than_the_interval_is_told_and_neither_stale_nor_paced_by_the_budget(
    tmp_path: Path,
) -> None:
    with serving(lambda now: [up(f"env-{number}", now) for number in range(3)]) as server:
        server.break_every_page(lambda reply: replace(reply, latency=0.7))
        environ = unlimited(server) | {"ENVWATCH_PAGE_SIZE": "1"}
        with Terminal.of_envwatch("--interval", "1", home=tmp_path, environ=environ) as terminal:
            for columns, lines in SIZES[1:]:
                terminal.resize(columns, lines)
                terminal.wait_until(
                    lambda: re.search(r" default .*live [0-9]s.*  a poll takes [3-9]s$", terminal.display[0].rstrip()),
                    "the reason",
                )
            terminal.press("?")
            terminal.wait_for("polls come every [3-9]s, not every 1s: a poll takes [3-9]s")
            terminal.wait_for("a greater `page_size` may help")
            terminal.press("?")
            server.heal()
            terminal.wait_for_no("a listing takes")


# -- the bell ----------------------------------------------------------------------------------------------------------
COUNT = 12
BELL = "control '\\x07'"


def beating(lost: int = 0) -> list[dict[str, Any]]:
    now = time.time() * 1000
    up = [{**row, "lastHeartbeat": now, "lastSeenAt": now} for row in wire_rows(COUNT)]
    return [{**row, "connectionId": None, "connectedAt": None, "lastHeartbeat": None} for row in up[:lost]] + up[lost:]


@contextmanager
def watching(server: Faulty, home: Path, *, bell: bool) -> Iterator[Terminal]:
    environ = credentials(server) | {"ENVWATCH_BELL": str(bell).lower(), "ENVWATCH_ALERT_AFTER": "10s"}
    home.mkdir()
    with Terminal.of_envwatch("--interval", "1", home=home, columns=120, environ=environ) as terminal:
        terminal.wait_for(f"● {COUNT} on")
        yield terminal


def bells(terminal: Terminal) -> int:
    return kinds_in(bytes(terminal.received))[BELL]


@pytest.mark.slow
def test_a_lasting_mass_loss_rings_once_after_ten_seconds_and_only_if_the_bell_is_on(tmp_path: Path) -> None:
    with (
        serving(beating()) as server,
        watching(server, tmp_path / "on", bell=True) as loud,
        watching(server, tmp_path / "off", bell=False) as quiet,
    ):
        started = time.monotonic()
        server.rows = beating(lost=10)
        loud.wait_for("10 went offline together")
        seen = time.monotonic()
        loud.wait_until(lambda: bells(loud), "the bell")
        rung = time.monotonic()
        assert rung - started >= 10 - 1.5, "the silence began with the last listing before the loss, a second ago"
        assert rung - seen < 10 + scaled(5)
        for terminal in (loud, quiet):
            terminal.wait_for("10 went offline together: .* (1[2-9]|[2-9][0-9])s ago$")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        assert (bells(loud), bells(quiet)) == (1, 0)
