"""A night on the real program at 80x24: the screen after each poll, without pressing a key."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TYPE_CHECKING, Any

import pytest
from support.demo_screen import titles_line
from support.faulty_server import Faulty, credentials, down, running, says, up
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    rule: str = "200 online"
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
        status=_text(display[0][display[0].index("●") :]),
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
    profile_state = Fleet()
    server = Faulty(profile_state.rows)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    with running(server):
        environ = credentials(server) | {"ENVWATCH_CONFIG": str(config)}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("200 on")
            terminal.press("\x04" * 4, "kk")
            terminal.wait_for("►● on .* web-060 ")
            expect(terminal, quiet := Seen(), lines=(19,))
            lost = lose_a_pod(terminal, profile_state, quiet)
            lost = change_it(terminal, profile_state, lost)
            hide_it(terminal, profile_state, server, lost)
            end_it(terminal, profile_state, lost)
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def lose_a_pod(terminal: Terminal, profile_state: Fleet, quiet: Seen) -> Seen:
    """The losses take one line above the table; one key goes to that line, and one key to the table's top."""
    profile_state.lose(*POD)
    lost = replace(
        quiet,
        status="● 186 on ○ 14 off 1 new live",
        block="▌ ○ 14 off NEW pod p-7: db-00, db-01, db-02 and 11 more disconnected",
        rule="186 online",
        newest="○ 14 went offline together: all pod p-7",
    )
    expect(terminal, lost, lines=(19, 20))
    terminal.press("n")
    lost = replace(lost, block=lost.block.replace("▌ ", "▌►"), cursor="")
    expect(terminal, lost, lines=(20, 1))
    return lost


def change_it(terminal: Terminal, profile_state: Fleet, lost: Seen) -> Seen:
    """Two rows return to the table, and a lost row is renamed."""
    terminal.press("g")
    terminal.wait_for("^  ● on .* web-000 ")
    profile_state.bring_back("db-03", "db-04")
    lost = replace(
        lost,
        status="● 188 on ○ 12 off 1 new live",
        block="▌►○ 12 of 14 off NEW pod p-7: db-00, db-01, db-02 and 9 more disconnected",
        rule="188 online",
        tags={"▌BACK": 2},
        newest="○ 14 went offline together: all pod p-7 2 back",
    )
    expect(terminal, lost)
    profile_state.names = {"db-00": "zeta"}
    lost = replace(lost, block="▌►○ 12 of 14 off NEW pod p-7: db-01, db-02, db-05 and 9 more disconnected")
    expect(terminal, lost)
    return lost


def hide_it(terminal: Terminal, profile_state: Fleet, server: Faulty, lost: Seen) -> None:
    """While the key is refused and while the list is empty, only the notices change."""
    server.break_page(0, says(401, '{"message":"Unauthorized"}'))
    host = server.url.removeprefix("http://")
    refused = (
        f"key refused: {host} answered 401: next try in , r tries now "
        "Unauthorized. Is the key from LETTA_API_KEY right, and still valid?"
    )
    # The second line of the message takes the place of the last row.
    status = lost.status.replace("live", "KEY REFUSED")
    expect(terminal, replace(lost, status=status, newest=refused))
    server.heal()
    terminal.press("r")
    expect(terminal, lost)
    profile_state.is_empty = True
    held = "the list came back empty (TIME): not believed before TIME; rows are as of TIME (r asks now)"
    # The badge takes the place of words.
    held_seen = replace(lost, status="● 188 ○ 12 1 new HOLD empty list data", newest=held)
    expect(terminal, held_seen)
    profile_state.is_empty = False
    expect(terminal, lost)


def end_it(terminal: Terminal, profile_state: Fleet, lost: Seen) -> None:
    """One row is deleted; then all return, and the cursor is still on the incident's line."""
    profile_state.deleted = {"db-05"}
    gone = replace(
        lost,
        status="● 188 on ○ 11 off · 1 gone 1 new live",
        block="▌►○ 12 of 14 lost NEW db-01 and 11 more 11 disconnected · 1 not listed",
    )
    expect(terminal, gone)
    with profile_state.at_once:
        profile_state.deleted = set()
        profile_state.bring_back(*profile_state.lost_at)
    over = Seen(
        block="▌►● 14 back BACK pod p-7: db-01, db-02, db-03, db-04, db-05 and 9 more",
        tags={"▌BACK": 13},
        cursor="",
        newest="● 11 came back together: zeta, db-01, db-02, db-06 and 7 more",
    )
    expect(terminal, over)
