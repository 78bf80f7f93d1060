"""Records outcomes with the real recorder, and with a history in memory as the reference.

As a program, records a life into a folder until killed, and prints each written poll's number in a line. Arguments: the
folder, the moment of the first poll, the number of polls.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.builders import NOW, beating, failed, listed, slept
from support.memory_history import MemoryHistory, recorded

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.encoding.events import EventDecoder, EventEncoder
from envwatch.history.encoding.frames import FrameKind
from envwatch.history.past import events_of
from envwatch.history.stored import Retention
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed, Slept

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from envwatch.fleet.events import Event
    from envwatch.history.past import Past
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


ALWAYS = (WallMs(float("-inf")), WallMs(float("inf")))


PATIENCE_S = 60.0
DAY = 86_400_000
"""Milliseconds."""


def life(count: int = 12, at: float = NOW, rows: int = 8) -> list[Outcome]:
    """Return polls every 5 s of a fleet whose rows come and go; some polls fail, and this machine sleeps."""
    outcomes: list[Outcome] = []
    for number in range(count):
        now = at + number * 5000
        match number % 6:
            case 3:
                outcomes.append(failed(at=now))
            case 4:
                outcomes.append(slept(now - 4000, now))
            case _:
                outcomes.append(listed(beating(rows - number % 3, now), now))
    return outcomes


def record(
    writer: FolderWriter,
    outcomes: Iterable[Outcome],
    history: MemoryHistory | None = None,
    *,
    is_compared: bool = False,
) -> MemoryHistory:
    """Record a run; `is_compared` adds the changes since the last recorded moment to the files alone."""
    history = history or MemoryHistory()
    history.start_run()
    assert writer.take()
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for outcome in outcomes:
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        history.record(monitor, changes)
        poll = history.polls(*ALWAYS)[-1]
        listed = outcome if is_compared and isinstance(outcome, Listed) else None
        writer.write(history.moment(poll), poll.result, changes.events, listed)
    return history


def content(past: Past) -> tuple[list[Any], list[Any], list[Any]]:
    polls = past.polls(*ALWAYS)
    return [*polls], [*map(past.moment, polls)], [*events_of(past.steps(*ALWAYS))]


def kinds(path: Path) -> list[FrameKind]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT kind FROM polls ORDER BY number").fetchall()
    connection.close()
    return [FrameKind(kind) for (kind,) in rows]


def encode_event(event: Event) -> bytes:
    """Return an event as the bytes of the first event of a file."""
    return EventEncoder().encode(event, 1)


def decode_event(data: bytes, profile: SafeText) -> Event:
    """Return the event of bytes that refer to no event before."""
    return EventDecoder(profile, lambda _: data).decode(data)


def main() -> None:
    folder, at, count = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    history, writer = recorded(life(count, at)), FolderWriter(folder, Retention())
    assert writer.take()
    for poll in history.polls(*ALWAYS):
        events = history.events(poll.at, poll.at)
        writer.write(history.moment(poll), poll.result, events)
        sys.stdout.write(f"{poll.number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
