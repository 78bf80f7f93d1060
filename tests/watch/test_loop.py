"""The watch: steps, end, who changes the monitor, and which state files come first."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, key_of, listed, reading
from support.fake_clock import Script, World, error, taken, targets_of, until

from envwatch.alerts.alert_policy import Word
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.letta.poller import Runtime, Session
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import ListedPage, Snapshot
from envwatch.model.text import clean
from envwatch.watch.loop import Deadline, Decisions, MonitorUpdate, News, Watch, deadline_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.events import Event
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


ACK = Ack(ServerMs(NOW), clean("disk"))
WORD = Word(is_always=False, at=WallMs(NOW), by=clean("ann"))
SILENCE = Silence(clean("s-1"), WallMs(NOW), WallMs(NOW + 60_000), environments=frozenset({key_of("env-1")}))
FAILING = {clean("page"): WallMs(NOW)}
LISTING = Snapshot.of_pages(pages=(ListedPage(beating(3), reading().wall),), requests=1)


class Prompt(Session):
    """A session that has an outcome at once."""

    def __init__(self) -> None:
        super().__init__({})
        self.has_given = False

    async def __anext__(self) -> tuple[SafeText, Outcome]:
        await asyncio.sleep(0)
        self.has_given = True
        return NO_PROFILE, listed(beating(1))


def new_monitor() -> Monitor:
    return Monitor.create({NO_PROFILE: Limits()})


def seconds_of_no_time() -> Runtime:
    """Return a clock that goes on a second at each look, and waits that take no time."""
    seconds = iter(range(100))

    async def wait(_event: asyncio.Event, _seconds: float) -> None:
        await asyncio.sleep(0)

    return Runtime(lambda: reading(NOW + next(seconds) * 1000), wait)


async def test_an_outcome_before_the_end_of_a_wait_does_not_end_the_next_wait() -> None:
    """Otherwise the loop spins: a wait for an event that is set gives no other task a turn."""
    session, waits = Prompt(), 0

    async def wait(event: asyncio.Event, _seconds: float) -> None:
        nonlocal waits
        waits += 1
        assert waits < 20, "the loop spins"
        while not (event.is_set() or session.has_given):  # noqa: ASYNC110  before the callback that sets an event
            await asyncio.sleep(0)
        session.has_given = False

    watch = Watch(new_monitor(), session, runtime=Runtime(reading, wait))
    outcomes = [(await anext(watch)).changes.outcome for _ in range(4)]
    assert None not in outcomes
    await watch.aclose()


async def test_a_decision_during_the_reading_of_the_files_stays() -> None:
    is_reading, goes_on = threading.Event(), threading.Event()

    def read(_now: Clocks) -> News:
        is_reading.set()
        goes_on.wait()
        return News(acks={key_of("theirs"): ACK}, words={})

    watch = Watch(new_monitor(), Prompt(), read=read)
    following = asyncio.ensure_future(anext(watch))
    await asyncio.to_thread(is_reading.wait)
    watch.decide(Decisions(acks={key_of("ours"): ACK}))
    goes_on.set()
    update = await following
    while update.changes.outcome is None:
        update = await anext(watch)
    assert update.monitor.acks.keys() == {key_of("theirs"), key_of("ours")}
    await watch.aclose()


async def test_a_slow_disk_stops_no_second() -> None:
    goes_on = threading.Event()

    def read(_now: Clocks) -> News:
        goes_on.wait()
        return News()

    watch = Watch(new_monitor(), Prompt(), read=read, runtime=seconds_of_no_time())
    assert (await anext(watch)).changes.outcome is None
    goes_on.set()
    await watch.aclose()


async def test_records_of_earlier_runs_are_added_to_the_newest_monitor() -> None:
    watch, counts = Watch(new_monitor(), has_log=True, awaits_past=[NO_PROFILE]), list[int]()
    is_adding, goes_on = threading.Event(), threading.Event()

    def seeded(monitor: Monitor, outcomes: Sequence[Outcome]) -> tuple[Monitor, Sequence[Event]]:
        counts.append(len(outcomes))
        is_adding.set()
        goes_on.wait()
        return monitor.with_acks({key_of("old"): ACK}), ()

    adding = asyncio.ensure_future(watch.seed(NO_PROFILE, seeded))
    await asyncio.to_thread(is_adding.wait)
    watch.take(NO_PROFILE, listed(beating(3)))
    goes_on.set()
    await adding
    assert len(watch.monitor.fleet) == 3
    assert counts == [0, 1]
    assert watch.monitor.acks.keys() == {key_of("old")}


async def test_each_outcome_and_each_second_between_is_an_update() -> None:
    world = World()
    found = await taken(world, Script(world, LISTING), deadline=until(world, 13.5))
    polls = [update for update in found if update.changes.outcome is not None]
    assert len(polls) == 3
    assert [update.has_new_listing for update in polls] == [True, True, True]
    ticks = [update for update in found if update.changes.outcome is None]
    assert 9 <= len(ticks) <= 13
    assert not any(update.has_new_listing for update in ticks)
    for earlier, later in pairwise(found):
        assert later.before.fleet.by_profile[NO_PROFILE].listed == earlier.monitor.fleet.by_profile[NO_PROFILE].listed


async def test_time_alone_makes_the_profile_blind_and_the_monitor_keeps_no_events() -> None:
    world = World()
    hangs = Script(world, LISTING, error(), takes=0.0)
    found = await taken(world, hangs, deadline=until(world, 90))
    kinds = [event.kind for update in found for event in update.changes.events]
    assert kinds == [Kind.FAILING, Kind.BLIND]
    assert not any(update.monitor.event_log for update in found if update.changes.outcome is not None)


@pytest.mark.parametrize(
    "deadline",
    [
        deadline_after(reading(), timedelta(seconds=20), datetime.fromtimestamp(NOW / 1000 + 7, UTC)),
        deadline_after(reading(), timedelta(seconds=7), datetime.fromtimestamp(NOW / 1000 + 20, UTC)),
    ],
)
async def test_a_watch_ends_at_the_earlier_of_a_time_and_a_moment(deadline: Deadline) -> None:
    world = World()
    found = await taken(world, Script(world, LISTING), deadline=deadline)
    assert 6 <= world.now <= 8
    assert found[-1].changes.now.monotonic <= 7


async def test_a_moment_counts_the_sleep_of_the_machine() -> None:
    world = World()
    deadline = deadline_after(reading(), until=datetime.fromtimestamp(NOW / 1000 + 3_600, UTC))
    world.schedule(5, lambda: world.suspend(7_200))
    await taken(world, Script(world, LISTING), deadline=deadline)
    assert world.now < 10


async def test_an_outcome_ends_the_wait_for_the_next_second() -> None:
    async def wait(event: asyncio.Event, _seconds: float) -> None:
        await event.wait()

    watch = Watch(new_monitor(), Prompt(), runtime=Runtime(reading, wait))
    async with asyncio.timeout(10):
        assert (await anext(watch)).changes.outcome is not None
    await watch.aclose()


@pytest.mark.parametrize("has_log", [False, True])
def test_only_a_watch_for_readers_keeps_the_events(has_log: bool) -> None:  # noqa: FBT001  parametrized
    watch = Watch(new_monitor(), has_log=has_log)
    for count in (1, 2):
        watch.take(NO_PROFILE, listed(beating(count), NOW + count * 5_000))
    assert bool(watch.monitor.event_log) is has_log


async def test_a_closed_watch_waits_for_no_outcome() -> None:
    watch = Watch(new_monitor(), runtime=seconds_of_no_time())
    await anext(watch)
    waiting = len(asyncio.all_tasks())
    async with asyncio.timeout(10):
        await watch.aclose()
    assert len(asyncio.all_tasks()) == waiting - 1


def test_a_decision_at_the_screen_is_saved_and_reaches_each_observer() -> None:
    saved, seen = list[Decisions](), list[MonitorUpdate]()
    watch = Watch(new_monitor(), keep=saved.append)
    watch.observers.append(seen.append)
    watch.take(NO_PROFILE, listed(beating(1)))
    decisions = Decisions(acks={key_of("env-1"): ACK}, silences={SILENCE.id: SILENCE}, words={key_of("env-1"): WORD})
    watch.decide(decisions)
    assert saved == [decisions]
    assert (watch.monitor.acks, watch.monitor.silences, watch.monitor.words) == decisions
    assert [update.changes.profile for update in seen] == [NO_PROFILE, None]
    assert [event.kind for event in seen[1].changes.events] == [Kind.DOES_NOT_PAGE, Kind.ACKNOWLEDGED]
    watch.decide(Decisions({key_of("env-1"): None}, {SILENCE.id: None}, {key_of("env-1"): None}))
    assert not any((watch.monitor.acks, watch.monitor.silences, watch.monitor.words))


def test_the_end_of_an_acknowledgement_is_saved() -> None:
    saved = list[Decisions]()
    watch = Watch(new_monitor(), keep=saved.append)
    acked = News(acks={key_of("env-1"): ACK})
    watch.take(NO_PROFILE, listed(beating(1, NOW - 600_000)), acked)
    assert saved == []
    watch.take(NO_PROFILE, listed(beating(1, NOW + 5_000), NOW + 5_000))
    assert saved == []
    watch.take(NO_PROFILE, listed(beating(1, NOW + 65_000), NOW + 65_000))
    assert saved == [Decisions(acks={key_of("env-1"): None})]


def test_an_acknowledgement_after_a_brief_return_is_saved() -> None:
    saved = list[Decisions]()
    watch = Watch(new_monitor(), keep=saved.append)
    acked = News(acks={key_of("env-1"): ACK})
    watch.take(NO_PROFILE, listed(beating(1, NOW - 600_000)), acked)
    watch.take(NO_PROFILE, listed(beating(1, NOW + 5_000), NOW + 5_000))
    seen_at = NOW + 10_000
    lost = environment("env-1", connectionId=None, lastHeartbeat=None, lastSeenAt=seen_at)
    watch.take(NO_PROFILE, listed([lost], NOW + 15_000))
    assert saved == [Decisions(acks={key_of("env-1"): replace(ACK, sign_at=seen_at)})]


def test_changed_files_are_in_the_monitor_and_unchanged_files_change_nothing() -> None:
    watch = Watch(new_monitor())
    news = News({key_of("env-1"): ACK}, {SILENCE.id: SILENCE}, {key_of("env-1"): WORD}, failing_hooks=FAILING)
    for each in (news, News(failing_hooks=FAILING)):
        watch.take(NO_PROFILE, listed(beating(1, NOW - 600_000)), each)
        assert (watch.monitor.acks, watch.monitor.silences, watch.monitor.words) == news[:3]
        assert watch.failing_hooks == FAILING


def test_rows_of_an_earlier_run_are_known_before_the_first_listing() -> None:
    world, remembered = World(), list[str]()
    before = Watch(new_monitor())
    now = before.take(NO_PROFILE, listed(beating(2))).changes.now
    (target,) = targets_of(world, Script(world)).values()
    target = target._replace(remember=lambda rows: remembered.extend(row.id for row in rows))
    watch = Watch(new_monitor(), Session({NO_PROFILE: target}))
    watch.resume({NO_PROFILE: before.monitor.alert_state(NO_PROFILE, now)})
    assert remembered == ["env-1", "env-2"]
    last_run = watch.monitor.fleet.by_profile[NO_PROFILE].last_run
    assert [*last_run.rows] == remembered
    watch.resume({NO_PROFILE: None})
    assert watch.monitor.fleet.by_profile[NO_PROFILE].last_run is last_run
