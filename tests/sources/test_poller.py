"""The poller's pace, on a fake clock; see `support.fake_clock`."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.fake_clock import Script, World, error, outcomes_of, poller_of, walk

from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Failure, Listed, RelayInfo, Slept, Snapshot, SourceError
from envwatch.model.text import clean
from envwatch.sources.poller import FASTEST, SLOWEST, Poller, PollSchedule, RefreshDelay, Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence


@pytest.fixture(autouse=True)
async def no_task_and_no_complaint_is_left() -> AsyncIterator[None]:
    """Assert after every test that no task is left, and no exception unretrieved."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect(1)
    assert complaints == []


def gaps(script: Script) -> list[float]:
    return [later - earlier for earlier, later in zip(script.asked_at, script.asked_at[1:], strict=False)]


# Interval and budget


async def test_it_polls_at_once_and_then_at_every_tick() -> None:
    script = Script(world := World())
    outcomes = await outcomes_of(poller_of(world, script), 4)

    assert script.asked_at == [0, 5, 10, 15]
    assert all(isinstance(outcome, Listed) for outcome in outcomes)


@pytest.mark.parametrize(("takes", "asked_at"), [(5, [0, 5, 10]), (5.001, [0, 10, 20]), (12, [0, 15, 30])])
async def test_ticks_that_fall_into_a_poll_are_skipped(takes: float, asked_at: list[float]) -> None:
    script = Script(world := World(), takes=takes)
    await outcomes_of(poller_of(world, script), 3)

    assert script.asked_at == asked_at


@pytest.mark.parametrize(("requests", "interval"), [(1, 5), (5, 5), (6, 6), (100, 100)])
async def test_the_interval_stretches_to_keep_within_a_request_a_second(requests: int, interval: float) -> None:
    script = Script(world := World(), walk(requests))
    outcomes = await outcomes_of(poller_of(world, script), 3)

    assert gaps(script) == [interval, interval]
    assert [outcome.interval for outcome in outcomes if isinstance(outcome, Listed)] == [timedelta(0, interval)] * 3


@pytest.mark.parametrize(
    ("random", "requests", "gap"),
    [
        (0.0, 1, 27),
        (0.25, 1, 28.5),
        (0.75, 1, 31.5),
        (0.0, 30, 33),
        (0.25, 30, 31.5),
        (0.75, 30, 31.5),
        (0.0, 28, 29),
    ],
)
async def test_polls_come_somewhat_early_or_late_and_never_before_the_budget_allows(
    random: float, requests: int, gap: float
) -> None:
    """A listing that shifts with the heartbeats would lack the same rows each time if polled in step."""
    script = Script(world := World(random), walk(requests))
    await outcomes_of(poller_of(world, script, Limits(interval=timedelta(seconds=30))), 3)

    assert gaps(script) == pytest.approx([gap, gap])


async def test_a_schedule_does_not_change_with_new_random_numbers() -> None:
    poller = poller_of(world := World(0.25), Script(world))
    await outcomes_of(poller, 1)
    first = poller.schedule.next_at
    world.random = 0.75

    assert (first, poller.schedule.next_at) == (4.75, 4.75)


@pytest.mark.parametrize(("requests", "reason"), [(5, (0, 0)), (6, (6, 60)), (100, (100, 60))])
async def test_the_schedule_says_which_requests_and_which_budget_lengthen_the_interval(
    requests: int, reason: tuple[int, int]
) -> None:
    poller = poller_of(world := World(), Script(world, walk(requests)))
    await outcomes_of(poller, 1)
    assert (poller.schedule.requests, poller.schedule.requests_per_minute) == reason


@pytest.mark.parametrize(("requests", "takes", "is_slow"), [(1, 0, False), (6, 0, True), (1, 6, True), (5, 5, False)])
async def test_polls_are_slow_by_the_budget_or_by_the_duration(requests: int, takes: float, *, is_slow: bool) -> None:
    poller = poller_of(world := World(), Script(world, walk(requests), takes=takes))
    assert (poller.pages_read, poller.schedule.is_slow) == (0, False)
    await outcomes_of(poller, 1)
    assert poller.schedule.is_slow is is_slow


async def test_the_interval_shrinks_again_with_the_listing() -> None:
    script = Script(world := World(), walk(20), walk(1))
    await outcomes_of(poller_of(world, script, Limits(requests_per_minute=120)), 3)

    assert gaps(script) == [10, 5]


async def test_a_wanted_interval_holds_from_the_last_poll_on() -> None:
    script = Script(world := World())
    poller = poller_of(world, script, Limits(interval=timedelta(seconds=60)))
    world.schedule(3, lambda: poller.want_interval(timedelta(seconds=10)))
    world.schedule(12.5, lambda: poller.want_interval(timedelta(seconds=1)))
    await outcomes_of(poller, 5)

    assert script.asked_at == [0, 10, 12.5, 13.5, 14.5]


@pytest.mark.parametrize(
    ("wanted", "interval"),
    [
        (timedelta(), timedelta(seconds=1)),
        (FASTEST, FASTEST),
        (timedelta(seconds=7), timedelta(seconds=7)),
        (SLOWEST, SLOWEST),
        (timedelta.max, timedelta(minutes=10)),
    ],
)
async def test_a_wanted_interval_has_bounds(wanted: timedelta, interval: timedelta) -> None:
    poller = poller_of(world := World(), Script(world))
    poller.want_interval(wanted)

    assert poller.interval == interval


# Failures


@pytest.mark.parametrize(
    ("random", "waits"),
    [
        (0.0, [0, 1, 1, 1, 1, 1, 1, 1]),  # the request budget precedes the shortest waits
        (0.5, [0.5, 1, 2, 4, 7.5, 7.5, 7.5, 7.5]),
        (1.0, [1, 2, 4, 8, 15, 15, 15, 15]),
    ],
)
async def test_failures_back_off_with_full_jitter_up_to_a_quarter_of_a_minute(
    random: float, waits: list[float]
) -> None:
    script = Script(world := World(random), error())
    await outcomes_of(poller_of(world, script), len(waits) + 1)

    assert gaps(script) == waits


async def test_it_never_gives_up_on_a_server_or_a_network_that_fails() -> None:
    script = Script(
        world := World(), *[error(cause) for cause in (Cause.SERVER, Cause.UNREACHABLE, Cause.GARBLED)] * 99
    )
    outcomes = await outcomes_of(poller_of(world, script), 300)

    assert all(isinstance(outcome, Failed) for outcome in outcomes)
    assert max(gaps(script)) == 30


@pytest.mark.parametrize("cause", [Cause.RATE_LIMITED, Cause.UNAVAILABLE])
async def test_backoff_from_an_overloaded_server_is_up_to_a_minute(cause: Cause) -> None:
    script = Script(world := World(1.0), error(cause))
    await outcomes_of(poller_of(world, script), 9)

    assert gaps(script) == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_after_five_minutes_of_failures_the_waits_grow_up_to_a_minute() -> None:
    script = Script(world := World(1.0), *[error()] * 28, walk(), error())
    await outcomes_of(poller_of(world, script), 35)

    assert gaps(script) == [1, 2, 4, 8, *[15] * 20, *[60] * 4, 5.5, 1, 2, 4, 8, 15]


async def test_a_poll_that_hung_has_waited_already() -> None:
    script = Script(world := World(1.0), error(Cause.TIMEOUT), takes=10)
    await outcomes_of(poller_of(world, script), 7)

    assert gaps(script) == [10, 10, 10, 10, 15, 15]


_OUTAGES = [
    (cause, takes, pages_read)
    for cause in Cause
    if not cause.is_overload and not cause.is_refusal
    for takes in (0.0, 0.3, 5.0, 10.0)
    for pages_read in (0, 1, 15)
]
"""Failures without a server's request to wait: cause, seconds until the poll fails, pages before."""


_ROLLS = st.lists(st.floats(0, 1, exclude_max=True), min_size=20, max_size=20)


async def recovery(outage: tuple[Cause, float, int], lasts: float, rolls: Sequence[float]) -> tuple[int, float]:
    """Return the polls and seconds from a server's recovery to a listing.

    Args:
        outage: the result of each poll that starts before the recovery.
        lasts: seconds until the recovery.
        rolls: random values, repeated.
    """
    cause, takes, pages_read = outage
    world, random = World(), cycle(rolls)

    class Recovering(Script):
        async def snapshot(self) -> Snapshot:
            self.asked_at.append(asked_at := world.now)
            is_broken = asked_at < lasts
            await world.sleep(takes if is_broken else 1.0)
            if is_broken:
                raise error(cause, pages_read=pages_read)
            return walk()

    source = Recovering(world)
    poller = Poller(source, Limits(), Runtime(world.clocks, world.wait, lambda: next(random)))
    async with aclosing(poller.outcomes()) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Listed):
                break
    return sum(at >= lasts for at in source.asked_at), world.now - lasts


@given(outage=st.sampled_from(_OUTAGES), lasts=st.floats(0, 300), rolls=_ROLLS)
@example(outage=(Cause.TIMEOUT, 10.0, 0), lasts=290.001, rolls=[0.999])
@example(outage=(Cause.UNREACHABLE, 0.0, 0), lasts=285.001, rolls=[0.999])
@example(
    outage=(Cause.UNREACHABLE, 10.0, 0),
    lasts=291.0,
    rolls=[0, 0, 0, 0.75, 0, 0, 0.875, 0.875, *[0] * 10, 0.96875, 0.9921875],
)
@settings(max_examples=examples(200), deadline=None)
def test_the_next_listing_comes_within_twenty_seconds_of_a_servers_recovery(
    outage: tuple[Cause, float, int], lasts: float, rolls: list[float]
) -> None:
    polls, seconds = asyncio.run(recovery(outage, lasts, rolls))
    assert polls <= 2
    assert seconds <= 20


@given(
    cause=st.sampled_from([cause for cause in Cause if not cause.is_refusal]),
    takes=st.sampled_from([0.0, 10.0]),
    pages_read=st.sampled_from([0, 15, 2_000]),
    lasts=st.floats(0, 1_000),
    rolls=_ROLLS,
)
@settings(max_examples=examples(50), deadline=None)
def test_it_comes_within_little_more_than_a_minute_after_any_outage_and_any_walk(
    cause: Cause, takes: float, pages_read: int, lasts: float, rolls: list[float]
) -> None:
    """A poll just before the recovery, a minute, and the walk."""
    polls, seconds = asyncio.run(recovery((cause, takes, pages_read), lasts, rolls))
    assert polls <= 2
    assert seconds <= takes + 60 + 1


async def test_a_listing_ends_the_backoff() -> None:
    script = Script(world := World(1.0), error(), error(), walk(), error(), walk())
    await outcomes_of(poller_of(world, script), 5)

    assert gaps(script) == [1, 2, 5.5, 1]


@pytest.mark.parametrize(("pages_read", "waits"), [(59, 59), (60, 60), (61, 60), (2_000, 60)])
async def test_the_pages_of_a_walk_that_failed_count_against_the_budget_for_up_to_a_minute(
    pages_read: int, waits: float
) -> None:
    script = Script(world := World(), error(Cause.ENDLESS, pages_read=pages_read))
    poller = poller_of(world, script)
    await outcomes_of(poller, 4)

    assert gaps(script)[0] == waits
    assert max(gaps(script)) <= 60


@pytest.mark.parametrize(("asked_for", "waits"), [(0.0, 0.5), (0.4, 0.5), (7.0, 7), (600.0, 600), (601.0, 600)])
async def test_retry_after_is_obeyed_up_to_ten_minutes(asked_for: float, waits: float) -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=asked_for)))
    await outcomes_of(poller_of(world, script), 2)

    assert gaps(script) == [waits]


async def test_a_retry_after_of_zero_does_not_shorten_the_backoff() -> None:
    script = Script(world := World(1.0), error(Cause.RATE_LIMITED, timedelta()))
    await outcomes_of(poller_of(world, script), 5)

    assert gaps(script) == [1, 2, 4, 8]


async def test_a_failed_outcome_holds_everything_about_the_error() -> None:
    script = Script(world := World(), error(Cause.TIMEOUT, timedelta(seconds=3), pages_read=2), takes=4)
    (outcome,) = await outcomes_of(poller_of(world, script), 1)

    assert isinstance(outcome, Failed)
    assert (outcome.cause, outcome.retry_after, outcome.pages_read) == (Cause.TIMEOUT, timedelta(seconds=3), 2)
    assert (float(outcome.started.monotonic), float(outcome.ended.monotonic)) == (0, 4)


async def test_an_exception_that_is_no_source_error_is_raised() -> None:
    class Broken:
        async def snapshot(self) -> Any:
            raise ZeroDivisionError

    world = World()
    with pytest.raises(ZeroDivisionError):
        await outcomes_of(poller_of(world, Broken()), 1)  # type: ignore[arg-type]  # that is the point


# Keys that are refused


async def test_a_refused_key_is_tried_again_after_thirty_seconds_and_then_every_five_minutes() -> None:
    script = Script(world := World(), *[error(Cause.UNAUTHORIZED)] * 4, walk())
    poller = poller_of(world, script)
    schedules = []
    world.schedule(29, lambda: schedules.append(poller.schedule))
    world.schedule(31, lambda: schedules.append(poller.schedule))
    outcomes = await outcomes_of(poller, 5)

    assert script.asked_at == [0, 30, 330, 630, 930]
    assert isinstance(outcomes[-1], Listed)
    assert schedules == [PollSchedule(False, timedelta(0, 5), at) for at in (30, 330)]


async def test_how_often_a_refused_key_is_tried_again_can_be_set() -> None:
    script = Script(world := World(), error(Cause.UNAUTHORIZED))
    await outcomes_of(poller_of(world, script, Limits(refused_recheck=timedelta(hours=1))), 4)

    assert script.asked_at == [0, 30, 3_630, 7_230]


@pytest.mark.parametrize("cause", [Cause.UNAUTHORIZED, Cause.FORBIDDEN])
async def test_a_refused_key_is_tried_at_once_when_the_user_acts(cause: Cause) -> None:
    script = Script(world := World(), error(cause), error(cause), walk())
    poller = poller_of(world, script)
    for moment in (2, 5):
        world.schedule(moment, poller.refresh)
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 2, 5, 10]


async def test_a_key_that_was_accepted_in_between_has_another_recheck() -> None:
    script = Script(world := World(), error(Cause.UNAUTHORIZED), walk(), error(Cause.UNAUTHORIZED), walk())
    await outcomes_of(poller_of(world, script), 4)

    assert script.asked_at == [0, 30, 35, 65]


async def test_other_failures_keep_the_first_recheck_of_a_refused_key() -> None:
    script = Script(world := World(1.0), error(), error(Cause.UNAUTHORIZED), error(), error(Cause.UNAUTHORIZED))
    await outcomes_of(poller_of(world, script), 5)

    assert script.asked_at == [0, 1, 31, 35, 335]


async def test_after_403_there_is_a_poll_every_fifteen_minutes() -> None:
    script = Script(world := World(), error(Cause.FORBIDDEN), error(Cause.FORBIDDEN), walk())
    await outcomes_of(poller_of(world, script), 4)

    assert script.asked_at == [0, 900, 1_800, 1_805]


async def test_sleep_does_not_end_a_pause() -> None:
    script = Script(world := World())
    poller = poller_of(world, script)
    world.schedule(1, lambda: poller.pause(paused=True))
    for moment in (100, 200):
        world.schedule(moment, lambda: world.suspend(28_800))
    world.schedule(1_000, poller.refresh)
    outcomes = await outcomes_of(poller, 4)

    assert script.asked_at == [0, 1_000]
    assert [type(outcome) for outcome in outcomes[1:3]] == [Slept, Slept]


# Pausing and asking


async def test_a_pause_lasts_until_it_is_ended() -> None:
    script = Script(world := World())
    poller = poller_of(world, script)
    stances: list[PollSchedule] = []
    world.schedule(6, lambda: poller.pause(paused=True))
    world.schedule(600, lambda: stances.append(poller.schedule))
    world.schedule(1_000.5, lambda: poller.pause(paused=False))
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 5, 1_000.5, 1_005.5]
    assert stances == [PollSchedule(False, timedelta(seconds=5), is_paused=True)]


async def test_a_pause_can_be_ended_while_a_poll_is_under_way() -> None:
    script = Script(world := World(), takes=3)
    poller = poller_of(world, script)
    schedules: list[PollSchedule] = []
    for moment, paused in ((1, True), (2, False), (6, True)):
        world.schedule(moment, partial(poller.pause, paused=paused))
        world.schedule(moment, lambda: schedules.append(poller.schedule))
    world.schedule(100, lambda: poller.pause(paused=False))
    await outcomes_of(poller, 3)

    assert [(schedule.is_polling, schedule.is_paused) for schedule in schedules] == [
        (True, True),
        (True, False),
        (True, True),
    ]
    assert script.asked_at == [0, 5, 100]


async def test_the_schedule_shows_a_change_at_once() -> None:
    poller = poller_of(world := World(), Script(world))
    await outcomes_of(poller, 1)
    schedules = [poller.schedule]
    poller.want_interval(timedelta(seconds=30))
    schedules.append(poller.schedule)
    poller.pause(paused=True)
    schedules.append(poller.schedule)

    assert [(schedule.next_at, schedule.interval.total_seconds()) for schedule in schedules] == [
        (5, 5),
        (30, 30),
        (None, 30),
    ]


async def test_a_refresh_during_a_pause_polls_once_and_stays_paused() -> None:
    script = Script(world := World())
    poller = poller_of(world, script)
    world.schedule(1, lambda: poller.pause(paused=True))
    world.schedule(100, poller.refresh)
    world.schedule(900, poller.refresh)
    await outcomes_of(poller, 3)

    assert script.asked_at == [0, 100, 900]


async def test_a_refresh_does_not_wait_for_the_tick() -> None:
    script = Script(world := World())
    poller = poller_of(world, script)
    world.schedule(2, poller.refresh)
    await outcomes_of(poller, 3)

    assert script.asked_at == [0, 2, 7]


@pytest.mark.parametrize(
    ("requests", "per_minute", "asked_at"),
    [
        (1, 60, [0, 1, 2, 3, 4]),
        (1, 6_000, [0, 1, 2, 3, 4]),
        (1, 6, [0, 1, 20, 21, 40]),
        (2, 60, [0, 1, 4, 6, 8]),
        (12, 60, [0, 1, 24, 25, 48]),
    ],
)
async def test_of_many_refreshes_one_poll_comes_at_once_and_the_budget_is_kept_in_the_long_run(
    requests: int, per_minute: int, asked_at: list[float]
) -> None:
    script = Script(world := World(), walk(requests))
    poller = poller_of(world, script, Limits(requests_per_minute=per_minute))
    for quarter in range(1, 200):
        world.schedule(quarter / 4, poller.refresh)
    await outcomes_of(poller, 5)

    assert script.asked_at == asked_at


async def test_pages_of_a_failed_walk_delay_a_second_refresh() -> None:
    """The failed walk was requested too."""
    script = Script(world := World(), error(pages_read=4))
    poller = poller_of(world, script)
    world.schedule(0.1, lambda: poller.pause(paused=True))
    for quarter in range(1, 100):
        world.schedule(quarter / 4, poller.refresh)
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 1, 10, 11]


async def test_a_refresh_after_an_endless_listing_polls_at_once() -> None:
    script = Script(world := World(), error(Cause.ENDLESS, pages_read=2_000), takes=3)
    poller = poller_of(world, script)
    waits: list[RefreshDelay | None] = []
    for moment in (10, 14):
        world.schedule(moment, lambda: waits.append(poller.refresh()))
    await outcomes_of(poller, 3)

    assert script.asked_at == [0, 10, 73]
    assert waits == [None, RefreshDelay(timedelta(seconds=59), is_forbidden=False)]


async def test_a_poll_that_the_budget_covers_after_a_pause_is_not_early() -> None:
    script = Script(world := World(), walk(12))
    poller = poller_of(world, script)
    world.schedule(0.1, lambda: poller.pause(paused=True))
    for moment in (100, 102, 200):
        world.schedule(moment, poller.refresh)
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 100, 102, 200]


async def test_a_refresh_delays_no_poll_that_is_due_sooner() -> None:
    script = Script(world := World(0.5), error())
    poller = poller_of(world, script)
    world.schedule(0.1, poller.refresh)
    await outcomes_of(poller, 2)

    assert script.asked_at == [0, 0.5]


async def test_a_refresh_returns_its_delay() -> None:
    script = Script(world := World(), walk(12), error(Cause.RATE_LIMITED, timedelta(seconds=600)), takes=2)
    poller = poller_of(world, script)
    waits: list[RefreshDelay | None] = []
    for moment in (4, 5, 7, 605, 607):
        world.schedule(moment, lambda: waits.append(poller.refresh()))
    await outcomes_of(poller, 3)

    assert script.asked_at == [0, 4, 606]
    assert waits == [
        None,
        None,
        RefreshDelay(timedelta(seconds=599), is_forbidden=True),
        RefreshDelay(timedelta(seconds=1), is_forbidden=True),
        None,
    ]


@pytest.mark.parametrize(("asks_at", "left_s"), [(0.75, 0.25), (1, None), (1.25, None)])
async def test_a_refresh_within_a_second_of_a_poll_has_a_delay(asks_at: float, left_s: float | None) -> None:
    poller = poller_of(world := World(), Script(world))
    waits: list[RefreshDelay | None] = []
    world.schedule(asks_at, lambda: waits.append(poller.refresh()))
    await outcomes_of(poller, 2)

    delay = None if left_s is None else RefreshDelay(timedelta(seconds=left_s), is_forbidden=False)
    assert waits == [delay]


@pytest.mark.parametrize(("asks_at", "asked_at"), [(600.999, []), (601, [601])])
@pytest.mark.parametrize("cause", [Cause.RATE_LIMITED, Cause.SERVER, Cause.FORBIDDEN])
async def test_there_is_no_poll_before_the_server_said_whether_paused_or_forbidden(
    cause: Cause, asks_at: float, asked_at: list[float]
) -> None:
    script = Script(world := World(), error(cause, timedelta(seconds=600)), takes=1)
    poller = poller_of(world, script)
    world.schedule(0.5, poller.refresh)
    world.schedule(2, lambda: poller.pause(paused=True))
    world.schedule(asks_at, poller.refresh)
    world.schedule(9_000, poller.refresh)
    await outcomes_of(poller, 2 + len(asked_at))

    assert script.asked_at == [0, *asked_at, 9_000]


async def test_sleep_counts_as_waiting_for_retry_after() -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=600)), walk())
    poller = poller_of(world, script)
    waits: list[RefreshDelay | None] = []
    world.schedule(1, lambda: poller.pause(paused=True))
    world.schedule(100.5, lambda: world.suspend(60))
    for moment in (539, 540, 545):
        world.schedule(moment, lambda: waits.append(poller.refresh()))
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 540, 545]
    assert waits == [RefreshDelay(timedelta(seconds=1), is_forbidden=True), None, None]


@pytest.mark.parametrize(("asked_for", "rechecked_at"), [(None, 30), (29, 30), (31, 31)])
async def test_the_recheck_of_a_refused_key_waits_as_long_as_the_server_asked(
    asked_for: float | None, rechecked_at: float
) -> None:
    retry_after = None if asked_for is None else timedelta(seconds=asked_for)
    script = Script(world := World(), error(Cause.UNAUTHORIZED, retry_after))
    await outcomes_of(poller_of(world, script), 2)

    assert script.asked_at == [0, rechecked_at]


async def test_a_refresh_during_a_poll_polls_once_more_after_it() -> None:
    script = Script(world := World(), takes=3)
    poller = poller_of(world, script)
    world.schedule(1, poller.refresh)
    world.schedule(2, poller.refresh)
    await outcomes_of(poller, 3)

    assert script.asked_at == [0, 3, 8]


async def test_the_pages_of_a_poll_are_counted_anew() -> None:
    poller = poller_of(world := World(), Script(world, takes=3))
    pages: list[int] = []
    world.schedule(1, lambda: poller.note_pages(7, 700))
    for moment in (2, 6):
        world.schedule(moment, lambda: pages.append(poller.pages_read))
    await outcomes_of(poller, 2)

    assert pages == [7, 0]


async def test_the_schedule_has_the_time_of_the_next_poll() -> None:
    script = Script(world := World(), takes=2)
    poller = poller_of(world, script)
    schedules: list[PollSchedule] = []
    for moment in (1, 3):
        world.schedule(moment, lambda: schedules.append(poller.schedule))
    await outcomes_of(poller, 2)

    assert schedules == [
        PollSchedule(True, timedelta(0, 5)),
        PollSchedule(False, timedelta(0, 5), 5),
    ]


# Relays


def relayed(retry_after: float | None = None) -> SourceError:
    wait = None if retry_after is None else timedelta(seconds=retry_after)
    return SourceError(Failure(Cause.UNAVAILABLE, clean("no listing"), wait), is_relayed=True)


@pytest.mark.parametrize(("random", "gap"), [(0.0, 4.5), (0.5, 5.0)])
async def test_a_relay_without_a_listing_is_asked_at_the_usual_pace(random: float, gap: float) -> None:
    script = Script(world := World(random), relayed())
    await outcomes_of(poller_of(world, script), 200)

    assert {round(each, 6) for each in gaps(script)} == {gap}


async def test_a_retry_after_of_a_relay_is_obeyed() -> None:
    script = Script(world := World(), relayed(30))
    await outcomes_of(poller_of(world, script), 4)

    assert script.asked_at == [0, 30, 60, 90]


async def test_another_failure_than_a_relays_backs_off_as_ever() -> None:
    other = SourceError(Failure(Cause.UNAVAILABLE, clean("down")))
    script = Script(world := World(0.5), *[relayed()] * 3, other)
    await outcomes_of(poller_of(world, script), 12)

    assert gaps(script)[:3] == [5, 5, 5]
    assert gaps(script)[-1] == 30


async def test_outcomes_of_a_slow_relay_have_the_longer_interval_and_polls_keep_their_own() -> None:
    slow = Snapshot.of_pages(pages=(), requests=1, served=RelayInfo(1.0, timedelta(seconds=60)))
    script = Script(world := World(), slow, slow, relayed())
    outcomes = await outcomes_of(poller_of(world, script), 4)

    assert [outcome.interval for outcome in outcomes if isinstance(outcome, Listed | Failed)] == [
        timedelta(seconds=60)
    ] * 4
    assert script.asked_at == [0, 5, 10, 15]


async def test_polls_follow_the_requests_whatever_the_age_of_a_relayed_listing() -> None:
    old = Snapshot.of_pages(pages=(), requests=1, served=RelayInfo(50.0))
    script = Script(world := World(), old)
    outcomes = await outcomes_of(poller_of(world, script), 3)

    assert script.asked_at == [0, 5, 10]
    asked = [float(outcome.asked.monotonic) for outcome in outcomes if isinstance(outcome, Listed)]
    assert asked == [-50, -45, -40]


# Sleep


@pytest.mark.parametrize(("drift", "slept"), [(5.0, False), (5.001, True), (28_800.0, True)])
@pytest.mark.parametrize("sign", [-1, 1])
async def test_clocks_that_drift_apart_mean_sleep(drift: float, sign: int, *, slept: bool) -> None:
    script = Script(world := World(), walk())
    world.schedule(2.5, lambda: world.suspend(sign * drift))
    outcomes = await outcomes_of(poller_of(world, script), 2)

    assert isinstance(outcomes[1], Slept) is slept


@pytest.mark.parametrize(("overrun", "slept"), [(15.0, False), (15.001, True)])
async def test_a_wait_that_overruns_by_three_intervals_means_that_the_process_stood_still(
    overrun: float, *, slept: bool
) -> None:
    script = Script(world := World(), walk())
    world.schedule(3, lambda: world.stop(overrun))
    outcomes = await outcomes_of(poller_of(world, script), 2)

    assert isinstance(outcomes[1], Slept) is slept


async def test_after_sleep_it_polls_at_once() -> None:
    script = Script(world := World())
    world.schedule(2.5, lambda: world.suspend(28_800))
    outcomes = await outcomes_of(poller_of(world, script), 3)

    assert script.asked_at == [0, 3]
    (slept,) = [outcome for outcome in outcomes if isinstance(outcome, Slept)]
    assert (float(slept.last_awake.monotonic), float(slept.awake.monotonic)) == (2, 3)
    assert slept.awake.wall - slept.last_awake.wall == 28_801_000


async def test_but_a_retry_after_is_obeyed_through_sleep() -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=600)))
    world.schedule(100.5, lambda: world.suspend(60))
    await outcomes_of(poller_of(world, script), 3)

    assert script.asked_at == [0, 540]


async def test_a_poll_that_sleep_brought_forward_is_not_early() -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=600)), walk(12))
    poller = poller_of(world, script)
    world.schedule(100.5, lambda: world.suspend(60))
    world.schedule(542, poller.refresh)
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 540, 542]


async def test_sleep_counts_as_waiting_for_the_budget() -> None:
    script = Script(world := World(), walk(100))
    poller = poller_of(world, script)
    world.schedule(10.5, lambda: world.suspend(60))
    for moment in (20, 25):
        world.schedule(moment, poller.refresh)
    await outcomes_of(poller, 4)

    assert script.asked_at == [0, 20, 140]


@pytest.mark.parametrize("happens", [lambda world: world.stop(20), lambda world: world.suspend(-60)])
async def test_a_process_that_stood_still_and_a_wall_clock_set_back_are_no_waiting(
    happens: Callable[[World], None],
) -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=600)))
    world.schedule(100.5, lambda: happens(world))
    await outcomes_of(poller_of(world, script), 3)

    assert script.asked_at == [0, 600]


async def test_and_through_sleep_after_sleep() -> None:
    script = Script(world := World(), error(Cause.RATE_LIMITED, timedelta(seconds=600)))
    for moment in (100.5, 200.5):
        world.schedule(moment, lambda: world.suspend(60))
    await outcomes_of(poller_of(world, script), 4)

    assert script.asked_at == [0, 480]


async def test_a_paused_poller_takes_no_more_memory_after_a_thousand_nights() -> None:
    script = Script(world := World())
    poller = poller_of(world, script)
    world.schedule(1, lambda: poller.pause(paused=True))
    for night in range(1_000):
        world.schedule(10.5 + 2 * night, lambda: world.suspend(28_800))
    world.schedule(3_000, lambda: poller.pause(paused=False))
    await outcomes_of(poller, 1_002)

    assert script.asked_at == [0, 3_000]


@pytest.mark.parametrize(("overrun", "slept"), [(15.0, False), (15.001, True)])
async def test_a_response_is_dropped_too_if_the_process_stood_still_for_three_intervals_meanwhile(
    overrun: float, *, slept: bool
) -> None:
    script = Script(world := World(), takes=4)
    world.schedule(2, lambda: world.stop(overrun))
    (outcome,) = await outcomes_of(poller_of(world, script), 1)

    assert (isinstance(outcome, Slept), script.dropped) == (slept, slept)


@pytest.mark.parametrize("error_in_flight", [False, True])
async def test_a_response_that_was_in_flight_during_sleep_is_dropped(*, error_in_flight: bool) -> None:
    script = Script(world := World(), error() if error_in_flight else walk(9), walk(), takes=3)
    world.schedule(1.5, lambda: world.suspend(28_800))
    outcomes = await outcomes_of(poller_of(world, script), 2)

    assert script.dropped == 1
    assert script.asked_at == [0, 2]
    assert isinstance(outcomes[0], Slept)
    assert isinstance(outcomes[1], Listed)
    assert outcomes[1].snapshot.requests == 1


async def test_so_is_an_error_that_came_during_sleep() -> None:
    script = Script(world := World(), error(), walk(), takes=3)
    world.schedule(2.9, lambda: world.suspend(28_800))
    outcomes = await outcomes_of(poller_of(world, script), 2)

    assert [type(outcome) for outcome in outcomes] == [Slept, Listed]


async def test_an_error_of_a_cancelled_source_is_ignored() -> None:
    class Sulking(Script):
        async def snapshot(self) -> Snapshot:
            try:
                return await super().snapshot()
            except asyncio.CancelledError:
                raise error() from None

    script = Sulking(world := World(), takes=3)
    world.schedule(1.5, lambda: world.suspend(28_800))
    outcomes = await outcomes_of(poller_of(world, script), 2)

    assert [type(outcome) for outcome in outcomes] == [Slept, Listed]


async def test_sleep_is_noticed_while_the_outcome_is_drawn() -> None:
    script = Script(world := World())
    found = []
    async with aclosing(poller_of(world, script).outcomes()) as outcomes:
        async for outcome in outcomes:
            found.append(type(outcome))
            if len(found) == 1:
                world.suspend(28_800)
            elif len(found) == 3:
                break

    assert found == [Listed, Slept, Listed]


async def test_a_slow_consumer_is_not_taken_for_sleep() -> None:
    script = Script(world := World())
    found = []
    async with aclosing(poller_of(world, script).outcomes()) as outcomes:
        async for outcome in outcomes:
            found.append(type(outcome))
            world.stop(100)
            if len(found) == 3:
                break

    assert found == [Listed, Listed, Listed]
    assert script.asked_at == [0, 100, 200]


# The end


async def test_closing_cancels_the_poll_in_flight() -> None:
    script = Script(world := World(), takes=1_000)
    waiting = asyncio.create_task(outcomes_of(poller_of(world, script), 1))
    world.schedule(500, waiting.cancel)
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert (script.asked_at, script.dropped) == ([0], 1)


async def test_closing_between_two_polls_leaves_nothing_behind() -> None:
    script = Script(world := World())
    await outcomes_of(poller_of(world, script), 1)

    assert (script.asked_at, script.dropped) == ([0], 0)


def _actions() -> st.SearchStrategy[list[tuple[float, str]]]:
    return st.lists(st.tuples(st.floats(0, 300), st.sampled_from(["pause", "resume", "refresh", "slow", "suspend"])))


@given(
    answers=st.lists(st.sampled_from([walk(), walk(3), walk(90), error(), error(Cause.TIMEOUT, pages_read=9)])),
    takes=st.sampled_from([0.0, 0.5, 4.0, 31.0]),
    random=st.floats(0, 1, exclude_max=True),
    actions=_actions(),
)
@example(answers=[error()], takes=0.0, random=0.9609375, actions=[])  # causes a tick early by a rounding error
@settings(max_examples=examples(60), deadline=None)
def test_there_is_never_more_than_one_poll_and_never_too_many(
    answers: list[Any], takes: float, random: float, actions: list[tuple[float, str]]
) -> None:
    """`Script` fails on two concurrent polls; a poll without a refresh waits for the tick, or 10 % less."""

    async def run() -> Script:
        script = Script(world := World(random), *answers, walk(), takes=takes)
        poller = poller_of(world, script)
        acts = {
            "pause": lambda: poller.pause(paused=True),
            "resume": lambda: poller.pause(paused=False),
            "refresh": poller.refresh,
            "slow": lambda: poller.want_interval(timedelta(seconds=20)),
            "suspend": lambda: world.suspend(60),
        }
        for moment, action in actions:
            world.schedule(moment, acts[action])
        world.schedule(301, lambda: poller.pause(paused=False))
        await outcomes_of(poller, 12)
        return script

    script = asyncio.run(run())
    asked_for = sum(action in ("refresh", "suspend") for _, action in actions) + len(answers)
    assert sum(round(gap, 6) < 4.5 for gap in gaps(script)) <= asked_for


async def test_the_real_runtime_waits_for_an_event_or_for_a_time() -> None:
    real = Runtime()
    event = asyncio.Event()
    await real.wait(event, 0)
    waiting = asyncio.ensure_future(real.wait(event, 3_600))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    event.set()
    await waiting

    assert 0 <= real.random() < 1
    before = time.time_ns() // 1_000_000
    assert before <= real.clocks().wall <= time.time_ns() // 1_000_000 + 1
    assert real.clocks().monotonic <= real.clocks().monotonic
