"""A night on the real program at 80x24: after each poll, all that a person sees without pressing a key."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TYPE_CHECKING, Any

import pytest
from support.byte_scanner import credentials, running
from support.faulty_server import says
from support.pty_terminal import Terminal
from support.scripted_server import Scripted, down, up

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POD = [f"db-{number:02}" for number in range(14)]
OTHERS = [f"web-{number:03}" for number in range(186)]

CONFIG = """
interval = "1s"
page_size = 250
requests_per_minute = 6000
"""


@dataclass
class Fleet:
    """What the server lists, changed by the steps of the night."""

    lost_at: dict[str, float] = field(default_factory=dict)
    """When a row was last seen, by its id; milliseconds."""
    back_at: dict[str, float] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    is_empty: bool = False
    at_once: RLock = field(default_factory=RLock)
    """Held over changes that are in the same listing."""

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
    """What a person sees without a key, without what changes every second."""

    counts: str = "● 200 on ◐ 0 late ○ 0 off"
    badge: str = "live"
    above: str = ""
    """What is out of sight above the rows."""
    first: str = ""
    """The first visible problem: state, name and tag."""
    tags: Mapping[str, int] = field(default_factory=dict)
    """How many visible rows have each tag, behind the bar of the row."""
    rule: str = ""
    """The line that ends the problems."""
    cursor: str = "web-004"
    """The name of the row under the cursor."""
    newest: str = "no events yet: the first listing is the baseline"
    """The message below the table."""


_ROW = re.compile(
    r"(?P<bar>[▌ ])(?P<cursor>[► ])(?P<state>\S \w+) +[0-9dhms ]+ +[0-9]*[–s] (?P<name>\S+) +(?P<tag>[A-Z]*) +standard"
)
_AGE = re.compile(r"\b[0-9]+[ms]( [0-9]+s)?(/1s)?( ago)?\b")

_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def seen_on(terminal: Terminal) -> Seen:
    status, *_ = display = terminal.display
    titles, *lines = (line[:-1].rstrip() for line in display[1:-1])  # without the scrollbar
    counts = re.search(r"●.*?(off|gone)(?! +·)", status)
    rows = [row for row in map(_ROW.match, lines) if row]
    rules = [line for line in lines if line.startswith("──")]
    first = next((row for row in rows if row["state"] != "● on"), None)
    return Seen(
        counts="" if counts is None else _text(counts[0]),
        badge="" if counts is None else _text(status[counts.end() :]),
        above=titles[titles.index("▲") :] if "▲" in titles else "",
        first="" if first is None else _text(" ".join(first.group("state", "name", "tag"))),
        tags=Counter(row["bar"] + row["tag"] for row in rows if row["tag"]),
        rule=" ".join(rules).strip("─ "),
        cursor=next((row["name"] for row in rows if row["cursor"] == "►"), ""),
        newest=_text(" ".join(display[2 + len(rows) + len(rules) : -1])),
    )


def _text(shown: str) -> str:
    return " ".join(_AGE.sub("", _CLOCK.sub("TIME", shown)).split())


def expect(terminal: Terminal, seen: Seen, *, line: int) -> None:
    """Wait until a person sees this; meanwhile the cursor stays on its line of the screen in every frame."""

    def is_seen() -> bool:
        lines = [y for y, text in enumerate(terminal.display) if text[1] == "►"]
        assert lines == [line], terminal.text
        return seen_on(terminal) == seen

    try:
        terminal.wait_until(is_seen, f"{seen}")
    except AssertionError:
        assert seen_on(terminal) == seen, terminal.text
        raise


@pytest.mark.slow
def test_a_night_shows_at_each_poll_what_is_wrong_and_moves_nothing(tmp_path: Path) -> None:
    profile_state = Fleet()
    server = Scripted(profile_state.rows)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    with running(server):
        environ = credentials(server) | {"ENVWATCH_CONFIG": str(config)}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("200 on")
            terminal.press("\x04", "kk")
            terminal.wait_for("►● on .* web-004 ")
            expect(terminal, quiet := Seen(), line=19)
            lost = lose_a_pod(terminal, profile_state, quiet)
            lost = change_it(terminal, profile_state, lost)
            hide_it(terminal, profile_state, server, lost)
            end_it(terminal, profile_state, lost)
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def lose_a_pod(terminal: Terminal, profile_state: Fleet, quiet: Seen) -> Seen:
    """The row under the cursor stays on its line; what this moves out of sight is counted, and one key goes there."""
    profile_state.lose(*POD)
    lost = replace(
        quiet,
        counts="● 186 on ◐ 0 late ○ 14 off",
        above="▲ 2 problems above",
        first="○ off db-02 NEW",
        tags={"▌NEW": 12},
        rule="186 online",
        newest="○ 14 went offline together: all pod p-7",
    )
    expect(terminal, lost, line=19)
    terminal.press("n")
    terminal.wait_for("►○ off .* db-00 ")
    lost = replace(lost, above="", first="○ off db-00 NEW", tags={"▌NEW": 14}, cursor="db-00")
    expect(terminal, lost, line=2)
    return lost


def change_it(terminal: Terminal, profile_state: Fleet, lost: Seen) -> Seen:
    """Two come back, and the row under the cursor gets another name."""
    profile_state.bring_back("db-03", "db-04")
    lost = replace(
        lost,
        counts="● 188 on ◐ 0 late ○ 12 off",
        tags={"▌NEW": 12, "▌BACK": 2},
        rule="188 online · 2 changed in 15 min",
        newest="○ 14 went offline together: all pod p-7 2 back",
    )
    expect(terminal, lost, line=2)
    profile_state.names = {"db-00": "zeta"}
    lost = replace(lost, first="○ off zeta NEW", cursor="zeta")
    expect(terminal, lost, line=2)
    return lost


def hide_it(terminal: Terminal, profile_state: Fleet, server: Scripted, lost: Seen) -> None:
    """While the key is refused and while the list is empty, nothing changes but what says so."""
    server.break_page(0, says(401, '{"message":"Unauthorized"}'))
    host = server.url.removeprefix("http://")
    refused = (
        f"key refused: {host} answered 401: next try in , r tries now "
        "Unauthorized. Is the key from LETTA_API_KEY right, and still valid?"
    )
    # The second line of the message takes the place of the last row.
    expect(terminal, replace(lost, badge="KEY REFUSED", newest=refused), line=2)
    server.heal()
    terminal.press("r")
    expect(terminal, lost, line=2)
    profile_state.is_empty = True
    held = "the list came back empty (TIME): not believed before TIME; rows are as of TIME (r asks now)"
    # The badge takes the place of an empty count.
    held_seen = replace(lost, counts="● 188 on ○ 12 off", badge="HOLD empty list data", newest=held)
    expect(terminal, held_seen, line=2)
    profile_state.is_empty = False
    expect(terminal, lost, line=2)


def end_it(terminal: Terminal, profile_state: Fleet, lost: Seen) -> None:
    """One is deleted; then all are back, and the row under the cursor is still where it was."""
    profile_state.deleted = {"db-05"}
    gone = replace(lost, counts="● 188 on ◐ 0 late ○ 11 off · 1 gone")
    expect(terminal, gone, line=2)
    with profile_state.at_once:
        profile_state.deleted = set()
        profile_state.bring_back(*profile_state.lost_at)
    over = Seen(
        tags={"▌BACK": 14},
        rule="199 online · 13 changed in 15 min",
        cursor="zeta",
        newest="● 11 came back together: zeta, db-01, db-02, db-06, db-07, … +1 more",
    )
    expect(terminal, over, line=2)
