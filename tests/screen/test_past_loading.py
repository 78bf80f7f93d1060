"""Recordings of earlier runs on this run's screen: events, marks, and changes since the last run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import BELL, Stage, staged
from support.builders import NOW, beating, environment, listed
from support.memory_history import MemoryHistory, recorded
from support.rewinding import DOWN, until

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Kind
from envwatch.history.past import HistoryError, Moment
from envwatch.history.stored import Retention, StoredPast
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult
from envwatch.model.text import SafeText, clean
from envwatch.screen.rewind.past_reader import PastReader
from envwatch.screen.screens.event_log import EventLogScreen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import RecordedPoll

HOUR = 3_600
MINUTE = 60


def rows(at: float, *, count: int = 4, **of_first: Any) -> list[Environment]:
    """Return rows that beat just before a moment, in seconds after `NOW`; `of_first` changes `env-1`."""
    first, *others = beating(count, NOW + at * 1000)
    return [environment("env-1", **({"lastHeartbeat": first.last_heartbeat_at} | of_first)), *others]


def ran(*listings: tuple[float, Sequence[Environment]]) -> MemoryHistory:
    return recorded(listed(each, NOW + at * 1000) for at, each in listings)


LOST = {**DOWN, "lastSeenAt": NOW + 4_000}
BEFORE = ((0, rows(0)), (5, rows(5, **LOST)), (10, rows(10, **LOST)))
"""A run that saw `env-1` go."""


@asynccontextmanager
async def second_run(history: MemoryHistory, at: float, **options: Any) -> AsyncIterator[Stage]:
    """Run an app that starts some seconds after `NOW`, with the recording."""
    history.start_run()
    inputs = {"record": history.record, "pasts": {NO_PROFILE: history}, "readable": asyncio.Queue()}
    async with staged(**{**inputs, **options}) as stage:
        stage.now = at
        yield stage


async def begin(stage: Stage, first: Sequence[Environment]) -> None:
    """Show a first listing, then let the app read the past, and wait for the end."""
    await stage.show(first)
    stage.app._inputs.readable.put_nowait(NO_PROFILE)  # noqa: SLF001  what the recorder does
    await until(stage, lambda: stage.app.state.monitor.watched[NO_PROFILE].began_at != NOW + stage.now * 1000)
    await stage.tick(0.0)


async def test_the_log_goes_on_and_one_line_says_what_changed_since_the_last_run() -> None:
    async with second_run(ran(*BEFORE), 3 * HOUR, bell=True) as stage:
        at = 3 * HOUR
        changed = [environment("env-2", **DOWN), *rows(at, count=5)[2:]]
        await begin(stage, [environment("env-1", **LOST), *changed])
        assert "in 2h 59m since the last run: 1 offline, 1 new" in stage.news
        log = stage.app.state.monitor.event_log
        assert [(event.kind, event.reason) for event in log] == [
            (Kind.OFFLINE, "disconnected"),
            (Kind.WHILE_BLIND, NOT_RUNNING),
        ]
        await stage.press("e")
        assert isinstance(stage.app.screen, EventLogScreen)
        assert "went offline · disconnected" in stage.text
        await stage.press("escape")
        for _ in range(3):
            await stage.tick(15)
        assert BELL not in stage.app.sent


async def test_a_loss_of_minutes_ago_is_marked_as_new_and_the_cursor_stays() -> None:
    gap = 5 * MINUTE
    async with second_run(ran(*BEFORE), gap) as stage:
        await stage.show([environment("env-1", **LOST), *rows(gap)[1:]])
        await stage.press("j", "j")
        cursor, names = stage.cursor, stage.names
        await begin(stage, [environment("env-1", **LOST), *rows(gap)[1:]])
        assert (stage.cursor, stage.names) == (cursor, names)
        (line,) = stage.block
        assert "laptop of env-1" in line
        assert "NEW" in line


async def test_no_change_since_the_last_run_is_news_for_ten_seconds() -> None:
    async with second_run(ran((0, rows(0))), 2 * HOUR) as stage:
        await begin(stage, rows(2 * HOUR))
        text = "nothing changed since the last run, "
        assert text in stage.news
        await stage.tick(9.0)
        assert text in stage.news
        await stage.tick(1.1)
        assert text not in stage.news
        assert len(stage.app.state.monitor.event_log) == 0


async def test_an_unreadable_past_is_a_notice_and_the_dashboard_lives_on() -> None:
    class Unreadable(MemoryHistory):
        def polls(self, *_: WallMs) -> Sequence[RecordedPoll]:
            raise HistoryError("the disk fails")

    async with second_run(Unreadable(), HOUR) as stage:
        stage.app._inputs.readable.put_nowait(NO_PROFILE)  # noqa: SLF001
        await stage.show(rows(HOUR))
        await until(stage, lambda: "earlier events are missing: the disk fails" in stage.news)
        await stage.tick()
        await stage.show(rows(HOUR + 5, **DOWN))
        assert "○ 1 page" in stage.text


async def test_each_of_several_profiles_has_its_own_past() -> None:
    home, work = clean("home"), clean("work")
    queue = asyncio.Queue[SafeText]()
    pasts = {home: MemoryHistory(home), work: MemoryHistory(work)}
    for profile, history in pasts.items():
        monitor = Monitor.create({profile: Limits()})
        outcome = listed(rows(0), NOW)
        monitor, changes = monitor.apply(profile, outcome, outcome.ended)
        history.record(monitor, changes)
    async with staged(profiles=(home, work), pasts=pasts, readable=queue) as stage:
        stage.now = HOUR
        queue.put_nowait(home)
        queue.put_nowait(work)
        await stage.show(rows(HOUR, **DOWN), work)
        await until(stage, lambda: "work" in stage.news and "since the last run" in stage.news)
        await stage.show(rows(HOUR, count=5, **DOWN), home)
        await until(stage, lambda: len(stage.app.state.monitor.event_log) == 2)
        assert {event.profile for event in stage.app.state.monitor.event_log} == {home, work}


async def test_events_of_the_present_are_not_kept_twice(tmp_path: Path) -> None:
    writer, monitor = FolderWriter(tmp_path, Retention()), Monitor.create({NO_PROFILE: Limits()})
    reader, end = PastReader({NO_PROFILE: StoredPast(tmp_path)}), WallMs(NOW + 10_000)
    assert writer.take()
    for at, each in BEFORE:
        outcome = listed(each, NOW + at * 1000)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        moment = Moment(outcome.ended, monitor.fleet.by_profile[NO_PROFILE])
        writer.write(moment, PollResult.LISTED, changes.events)
        reader.note(NO_PROFILE, monitor, outcome.ended)
    writer.close()
    found = await reader.events(end, end, {NO_PROFILE: monitor.fleet.by_profile[NO_PROFILE].clock})
    (event,) = monitor.event_log
    assert [each is event for each in found.log] == [True]
    assert [each is event for _, events in found.eventful_polls for each in events] == [True]


async def test_reading_ahead_stops_and_keeps_nothing_after_the_reader_forgot() -> None:
    class Held(MemoryHistory):
        begun, gate = threading.Event(), threading.Event()

        def moment(self, poll: RecordedPoll) -> Moment:
            self.begun.set()
            self.gate.wait(30)
            asked.append(poll.number)
            return super().moment(poll)

    asked = list[int]()
    past = recorded((listed(rows(at), NOW + at * 1000) for at in range(0, 30, 5)), Held())
    reader = PastReader({NO_PROFILE: past})
    timeline = await reader.around(WallMs(NOW + 25_000))
    reader.read_ahead(timeline, 5, -1)
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.to_thread(Held.begun.wait, 30)
    reader.forget()
    Held.gate.set()
    await asyncio.wait_for(task, 30)
    assert asked == [1]
    await reader.moments(timeline, 0)
    assert asked == [1, 1]


async def test_as_many_moments_are_kept_behind_as_are_read_ahead() -> None:
    class Asked(MemoryHistory):
        def moment(self, poll: RecordedPoll) -> Moment:
            asked.append(poll.number)
            return super().moment(poll)

    asked, polls = list[int](), 60
    past = recorded((listed(rows(at), NOW + at * 1000) for at in range(0, 5 * polls, 5)), Asked())
    reader = PastReader({NO_PROFILE: past})
    timeline = await reader.around(WallMs(NOW + 5_000 * polls))
    for place in range(polls - 1, 15, -1):
        await reader.moments(timeline, place)
        reader.read_ahead(timeline, place, -1)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    asked.clear()
    for place in range(polls):
        await reader.moments(timeline, place)
    assert polls - len(asked) == 2 * 12 + 2


@pytest.mark.parametrize(
    ("at", "rewound", "answer"),
    [
        (6, "REWOUND 08:53:25", ""),
        (2 * HOUR, "REWOUND 08:53:30", "nothing was recorded at 10:53:20: this is the newest before it"),
        (-HOUR, "REWOUND 08:53:20", "the history begins at 08:53:20"),
    ],
)
async def test_a_start_at_a_past_time_shows_that_time_once_the_past_can_be_read(
    at: float, rewound: str, answer: str
) -> None:
    async with second_run(ran(*BEFORE), 3 * HOUR, begin_at=WallMs(NOW + at * 1000)) as stage:
        await stage.show(rows(3 * HOUR))
        assert "REWOUND" not in stage.lines[0]
        stage.app._inputs.readable.put_nowait(NO_PROFILE)  # noqa: SLF001
        await until(stage, lambda: stage.app.state.rewound is not None)
        await stage.turns()
        assert rewound in stage.lines[0]
        assert answer in stage.news
        await stage.press("L")
        assert "REWOUND" not in stage.lines[0]
