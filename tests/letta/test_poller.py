"""The poller's pace, on a fake clock; see `support.fake_clock`."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.fake_clock import Script, World, error, outcomes_of, poller_of, walk

from envwatch.letta.poller import FASTEST, SLOWEST, Poller, PollSchedule, RefreshDelay, Runtime
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Failure, Listed, RelayInfo, Slept, Snapshot, SourceError
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from support.fake_clock import Answer


@pytest.fixture(autouse=True)
async def no_task_and_no_complaint_is_left() -> AsyncIterator[None]:
    """Assert after every test that no task is left, and no exception unretrieved."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect(1)
    assert complaints == []


# Acts of the user and of the machine


def refresh(poller: Poller, _world: World) -> RefreshDelay | None:
    return poller.refresh()


def pause(poller: Poller, _world: World) -> None:
    poller.pause(paused=True)


def resume(poller: Poller, _world: World) -> None:
    poller.pause(paused=False)


def wants(seconds: float) -> Callable[[Poller, World], object]:
    return lambda poller, _: poller.want_interval(timedelta(seconds=seconds))


def sleeps(seconds: float) -> Callable[[Poller, World], object]:
    """The machine sleeps, or its wall clock is set."""
    return lambda _, world: world.suspend(seconds)


def stops(seconds: float) -> Callable[[Poller, World], object]:
    """The process stands still."""
    return lambda _, world: world.stop(seconds)


@dataclass(frozen=True)
class Case:
    polled_at: list[float]
    """Seconds of the polls."""
    answers: Sequence[Answer] = ()
    """The last answer is repeated; empty listings without an answer."""
    acts: Sequence[tuple[float, Callable[[Poller, World], object]]] = ()
    limits: Limits | None = None
    takes: float = 0.0
    random: float = 0.5
    """0.5 moves no tick and halves each wait after a failure."""
    dropped: int = 0
    """Polls cancelled before a result."""
    outcomes: str = ""
    """The outcomes in order: `L` for a listing, `F` for a failed poll, `S` for sleep; empty if not compared."""
    delays: list[tuple[float, bool] | None] | None = None
    """The results of the refreshes in order: seconds, and whether the server forbids earlier polls."""


def after(*gaps: float) -> list[float]:
    return [0, *accumulate(gaps)]


def interval(seconds: float) -> Limits:
    return Limits(interval=timedelta(seconds=seconds))


def budget(per_minute: int) -> Limits:
    return Limits(requests_per_minute=per_minute)


def limited(seconds: float, cause: Cause = Cause.RATE_LIMITED) -> SourceError:
    """Return a failure whose answer asked to wait."""
    return error(cause, timedelta(seconds=seconds))


def relayed(retry_after: float | None = None) -> SourceError:
    wait = None if retry_after is None else timedelta(seconds=retry_after)
    return SourceError(Failure(Cause.UNAVAILABLE, clean("no listing"), wait), is_relayed=True)


DENIED, FORBIDDEN, BUSY = error(Cause.UNAUTHORIZED), error(Cause.FORBIDDEN), limited(600)
EVERY_QUARTER = [(quarter / 4, refresh) for quarter in range(1, 200)]

PACE = {
    "at once, then at every tick": Case([0, 5, 10, 15], outcomes="LLLL"),
    "a poll as long as the interval": Case([0, 5, 10], takes=5),
    "a longer poll skips the tick within": Case([0, 10, 20], takes=5.001),
    "a poll over two ticks": Case([0, 15, 30], takes=12),
    "the pages fit the budget of a request a second": Case([0, 5, 10], [walk(5)]),
    "the interval stretches with the pages": Case([0, 6, 12], [walk(6)]),
    "the interval of a large listing": Case([0, 100, 200], [walk(100)]),
    "the interval shrinks with the listing": Case(after(10, 5), [walk(20), walk(1)], limits=budget(120)),
    "a wanted interval counts from the last poll": Case(
        [0, 10, 12.5, 13.5, 14.5], acts=[(3, wants(10)), (12.5, wants(1))], limits=interval(60)
    ),
    # A listing that shifts with the heartbeats would lack the same rows each time if polled in step.
    "early": Case(after(27, 27), limits=interval(30), random=0.0),
    "somewhat early": Case(after(28.5, 28.5), limits=interval(30), random=0.25),
    "somewhat late": Case(after(31.5, 31.5), limits=interval(30), random=0.75),
    "not before the budget allows": Case(after(29, 29), [walk(28)], limits=interval(30), random=0.0),
    "late instead of early": Case(after(33, 33), [walk(30)], limits=interval(30), random=0.0),
    "somewhat late instead of early": Case(after(31.5, 31.5), [walk(30)], limits=interval(30), random=0.25),
    "late as ever": Case(after(31.5, 31.5), [walk(30)], limits=interval(30), random=0.75),
}

FAILURES = {
    # The request budget precedes the shortest waits.
    "the shortest waits": Case(after(0, 1, 1, 1, 1, 1, 1, 1), [error()], random=0.0),
    "waits in the middle": Case(after(0.5, 1, 2, 4, 7.5, 7.5, 7.5, 7.5), [error()]),
    "the longest waits": Case(after(1, 2, 4, 8, 15, 15, 15, 15), [error()], random=1.0),
    "busy": Case(after(1, 2, 4, 8, 16, 32, 60, 60), [error(Cause.RATE_LIMITED)], random=1.0),
    "unavailable": Case(after(1, 2, 4, 8, 16, 32, 60, 60), [error(Cause.UNAVAILABLE)], random=1.0),
    "longer waits after five minutes": Case(
        after(1, 2, 4, 8, *[15] * 20, *[60] * 4, 5.5, 1, 2, 4, 8, 15), [*[error()] * 28, walk(), error()], random=1.0
    ),
    "a poll that hung has waited already": Case(
        after(10, 10, 10, 10, 15, 15), [error(Cause.TIMEOUT)], takes=10, random=1.0
    ),
    "a listing ends the backoff": Case(
        after(1, 2, 5.5, 1), [error(), error(), walk(), error(), walk()], random=1.0, outcomes="FFLFL"
    ),
    "the pages of a failed walk count": Case([0, 59], [error(Cause.ENDLESS, pages_read=59)]),
    "for a minute": Case([0, 60], [error(Cause.ENDLESS, pages_read=60)]),
    "for at most a minute": Case([0, 60, 120, 180], [error(Cause.ENDLESS, pages_read=61)]),
    "retry-after 0": Case([0, 0.5], [limited(0)]),
    "retry-after 0 does not shorten the backoff": Case(after(1, 2, 4, 8), [limited(0)], random=1.0),
    "retry-after below the backoff": Case([0, 0.5], [limited(0.4)]),
    "retry-after": Case([0, 7], [limited(7)]),
    "retry-after of ten minutes": Case([0, 600], [BUSY]),
    "retry-after beyond ten minutes": Case([0, 600], [limited(601)]),
}

REFUSALS = {
    "a refused key after 30 s, then every 5 minutes": Case([0, 30, 330, 630, 930], [*[DENIED] * 4, walk()]),
    "as often as set": Case([0, 30, 3_630, 7_230], [DENIED], limits=Limits(refused_recheck=timedelta(hours=1))),
    "at once if the user acts": Case([0, 2, 5, 10], [DENIED, DENIED, walk()], [(2, refresh), (5, refresh)]),
    "at once after 403 too": Case([0, 2, 5, 10], [FORBIDDEN, FORBIDDEN, walk()], [(2, refresh), (5, refresh)]),
    "an accepted key has another first recheck": Case([0, 30, 35, 65], [DENIED, walk(), DENIED, walk()]),
    "other failures keep the first recheck": Case([0, 1, 31, 35, 335], [error(), DENIED, error(), DENIED], random=1.0),
    "every 15 minutes after 403": Case([0, 900, 1_800, 1_805], [FORBIDDEN, FORBIDDEN, walk()]),
    "retry-after below the recheck": Case([0, 30], [limited(29, Cause.UNAUTHORIZED)]),
    "retry-after beyond the recheck": Case([0, 31], [limited(31, Cause.UNAUTHORIZED)]),
}

ASKING = {
    "a pause until its end": Case([0, 5, 1_000.5, 1_005.5], acts=[(6, pause), (1_000.5, resume)]),
    "a refresh during a pause stays paused": Case([0, 100, 900], acts=[(1, pause), (100, refresh), (900, refresh)]),
    "a refresh does not wait for the tick": Case([0, 2, 7], acts=[(2, refresh)]),
    "a refresh during a poll": Case([0, 3, 8], acts=[(1, refresh), (2, refresh)], takes=3),
    "a refresh delays no earlier poll": Case([0, 0.5], [error()], [(0.1, refresh)]),
    # Of many refreshes, one poll comes at once, and the budget is kept in the long run.
    "many refreshes": Case([0, 1, 2, 3, 4], acts=EVERY_QUARTER),
    "many refreshes and a large budget": Case([0, 1, 2, 3, 4], acts=EVERY_QUARTER, limits=budget(6_000)),
    "many refreshes and a small budget": Case([0, 1, 20, 21, 40], acts=EVERY_QUARTER, limits=budget(6)),
    "many refreshes of two pages": Case([0, 1, 4, 6, 8], [walk(2)], EVERY_QUARTER),
    "many refreshes of twelve pages": Case([0, 1, 24, 25, 48], [walk(12)], EVERY_QUARTER),
    "many refreshes after failed walks": Case([0, 1, 10, 11], [error(pages_read=4)], [(0.1, pause), *EVERY_QUARTER]),
    "a poll that the budget covers after a pause is not early": Case(
        [0, 100, 102, 200], [walk(12)], [(0.1, pause), (100, refresh), (102, refresh), (200, refresh)]
    ),
    "a refresh after an endless listing": Case(
        [0, 10, 73],
        [error(Cause.ENDLESS, pages_read=2_000)],
        [(10, refresh), (14, refresh)],
        takes=3,
        delays=[None, (59, False)],
    ),
    "delays by the server's wish": Case(
        [0, 4, 606],
        [walk(12), BUSY],
        [(at, refresh) for at in (4, 5, 7, 605, 607)],
        takes=2,
        delays=[None, None, (599, True), (1, True), None],
    ),
    "within a second of a poll": Case([0, 1], acts=[(0.75, refresh)], delays=[(0.25, False)]),
    "a second after a poll": Case([0, 1], acts=[(1, refresh)], delays=[None]),
    **{
        f"{cause}: no poll before the server said, asked at {asks_at}": Case(
            [0, *early, 9_000],
            [limited(600, cause)],
            [(0.5, refresh), (2, pause), (asks_at, refresh), (9_000, refresh)],
            takes=1,
        )
        for cause in (Cause.RATE_LIMITED, Cause.SERVER, Cause.FORBIDDEN)
        for asks_at, early in ((600.999, []), (601, [601.0]))
    },
}

RELAYS = {
    "without a listing at the usual pace": Case(after(*[5] * 200), [relayed()]),
    "without a listing at the usual pace, early": Case(after(*[4.5] * 200), [relayed()], random=0.0),
    "retry-after": Case([0, 30, 60, 90], [relayed(30)]),
    "other failures back off": Case(after(5, 5, 5, 4, 8, 16, 30, 30), [*[relayed()] * 3, error(Cause.UNAVAILABLE)]),
    "the age and the interval of a listing": Case(
        [0, 5, 10], [Snapshot.of_pages(pages=(), requests=1, served=RelayInfo(50.0, timedelta(seconds=60)))]
    ),
}

SLEEP = {
    "clocks drift apart by 5 s": Case([0, 5], acts=[(2.5, sleeps(5))], outcomes="LL"),
    "by more than 5 s": Case([0, 3], acts=[(2.5, sleeps(5.001))], outcomes="LSL"),
    "by 8 hours": Case([0, 3], acts=[(2.5, sleeps(28_800))], outcomes="LSL"),
    "backward by 5 s": Case([0, 5], acts=[(2.5, sleeps(-5))], outcomes="LL"),
    "backward by more than 5 s": Case([0, 5], acts=[(2.5, sleeps(-5.001))], outcomes="LSL"),
    "a wait that overruns by three intervals": Case([0, 18], acts=[(3, stops(15))], outcomes="LL"),
    "by more": Case([0, 18.001], acts=[(3, stops(15.001))], outcomes="LSL"),
    "a poll that overruns by three intervals": Case([0], acts=[(2, stops(15))], takes=4, outcomes="L"),
    "a longer poll is dropped": Case([0, 17.001], acts=[(2, stops(15.001))], takes=4, dropped=1, outcomes="SL"),
    "a response in flight is dropped": Case(
        [0, 2], [walk(9), walk()], [(1.5, sleeps(28_800))], takes=3, dropped=1, outcomes="SL"
    ),
    "a failure in flight is dropped": Case(
        [0, 2], [error(), walk()], [(1.5, sleeps(28_800))], takes=3, dropped=1, outcomes="SL"
    ),
    "a failure during sleep": Case([0, 3], [error(), walk()], [(2.9, sleeps(28_800))], takes=3, outcomes="SL"),
    "sleep counts as waiting for retry-after": Case([0, 540], [BUSY], [(100.5, sleeps(60))], outcomes="FSF"),
    "sleep after sleep counts": Case([0, 480], [BUSY], [(100.5, sleeps(60)), (200.5, sleeps(60))]),
    "a process that stood still has not waited": Case([0, 600], [BUSY], [(100.5, stops(20))], outcomes="FSF"),
    "a clock set back has not waited": Case([0, 600], [BUSY], [(100.5, sleeps(-60))], outcomes="FSF"),
    "a poll after sleep is not early": Case([0, 540, 542], [BUSY, walk(12)], [(100.5, sleeps(60)), (542, refresh)]),
    "sleep counts for refreshes during retry-after": Case(
        [0, 540, 545],
        [BUSY, walk()],
        [(1, pause), (100.5, sleeps(60)), (539, refresh), (540, refresh), (545, refresh)],
        delays=[(1, True), None, None],
    ),
    "sleep counts as waiting for the budget": Case(
        [0, 20, 140], [walk(100)], [(10.5, sleeps(60)), (20, refresh), (25, refresh)]
    ),
    "sleep ends no pause": Case(
        [0, 1_000], acts=[(1, pause), (100, sleeps(28_800)), (200, sleeps(28_800)), (1_000, refresh)], outcomes="LSSL"
    ),
    "a thousand nights in a pause": Case(
        [0, 3_000],
        acts=[(1, pause), *[(10.5 + 2 * night, sleeps(28_800)) for night in range(1_000)], (3_000, resume)],
        outcomes=f"L{'S' * 1_000}L",
    ),
}

LETTERS: dict[type, str] = {Listed: "L", Failed: "F", Slept: "S"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{kind}: {name}")
        for kind, cases in {
            "pace": PACE,
            "failures": FAILURES,
            "refusals": REFUSALS,
            "asking": ASKING,
            "relays": RELAYS,
            "sleep": SLEEP,
        }.items()
        for name, case in cases.items()
    ],
)
async def test_polls_come_at_their_times(case: Case) -> None:
    script = Script(world := World(case.random), *case.answers, takes=case.takes)
    poller, delays, letters = poller_of(world, script, case.limits), list[tuple[float, bool] | None](), ""

    def do(act: Callable[[Poller, World], object]) -> None:
        result = act(poller, world)
        if isinstance(result, RefreshDelay):
            delays.append((result.left.total_seconds(), result.is_forbidden))
        elif act is refresh:
            delays.append(None)

    for moment, act in case.acts:
        world.schedule(moment, partial(do, act))
    async with aclosing(poller.outcomes()) as outcomes:
        async for outcome in outcomes:
            letters += LETTERS[type(outcome)]
            if len(script.asked_at) == len(case.polled_at) and not isinstance(outcome, Slept):
                break
    assert script.asked_at == pytest.approx(case.polled_at)
    assert letters == (case.outcomes or letters)
    assert delays == (delays if case.delays is None else case.delays)
    assert script.dropped == case.dropped


# Schedules and outcomes


@pytest.mark.parametrize(
    ("requests", "takes", "interval_s", "reason", "is_slow"),
    [
        (1, 0, 5, (0, 0), False),
        (5, 5, 5, (0, 0), False),
        (1, 6, 10, (0, 0), True),
        (6, 0, 6, (6, 60), True),
        (100, 0, 100, (100, 60), True),
    ],
)
async def test_polls_are_slow_by_the_budget_or_by_the_duration(
    requests: int, takes: float, interval_s: float, reason: tuple[int, int], *, is_slow: bool
) -> None:
    """The schedule names the requests and the budget that lengthen the interval."""
    poller = poller_of(world := World(), Script(world, walk(requests), takes=takes))
    assert (poller.pages_read, poller.schedule.is_slow) == (0, False)
    (outcome,) = await outcomes_of(poller, 1)

    assert isinstance(outcome, Listed)
    assert outcome.interval.total_seconds() == interval_s
    assert (poller.schedule.requests, poller.schedule.requests_per_minute) == reason
    assert poller.schedule.is_slow is is_slow


async def test_the_schedule_shows_a_change_at_once_and_does_not_roll_anew() -> None:
    poller = poller_of(world := World(0.25), Script(world))
    await outcomes_of(poller, 1)
    schedules = [poller.schedule]
    world.random = 0.75
    schedules.append(poller.schedule)
    poller.want_interval(timedelta(seconds=30))
    schedules.append(poller.schedule)
    poller.pause(paused=True)
    schedules.append(poller.schedule)

    assert [(schedule.next_at, schedule.interval.total_seconds()) for schedule in schedules] == [
        *((4.75, 5), (4.75, 5), (28.5, 30), (None, 30)),
    ]


FIVE = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("answers", "takes", "acts", "schedules"),
    [
        ([], 2, [], {1: PollSchedule(True, FIVE), 3: PollSchedule(False, FIVE, 5)}),
        ([DENIED], 0, [], {29: PollSchedule(False, FIVE, 30), 31: PollSchedule(False, FIVE, 330)}),
        (
            [],
            3,
            [(1, pause), (2, resume), (6, pause), (700, resume)],
            {
                1.5: PollSchedule(True, FIVE, is_paused=True),
                2.5: PollSchedule(True, FIVE),
                6.5: PollSchedule(True, FIVE, is_paused=True),
                600: PollSchedule(False, FIVE, is_paused=True),
            },
        ),
    ],
    ids=["polling", "a refused key", "pauses during polls"],
)
async def test_the_schedule_has_the_next_poll_and_the_pause(
    answers: Sequence[Answer],
    takes: float,
    acts: Sequence[tuple[float, Callable[[Poller, World], object]]],
    schedules: dict[float, PollSchedule],
) -> None:
    poller, found = poller_of(world := World(), Script(world, *answers, takes=takes)), dict[float, PollSchedule]()
    for moment, act in acts:
        world.schedule(moment, partial(act, poller, world))

    def note(moment: float) -> None:
        found[moment] = poller.schedule

    for moment in schedules:
        world.schedule(moment, partial(note, moment))
    await outcomes_of(poller, 3)

    assert found == schedules


async def test_a_failed_outcome_has_all_of_the_error_and_the_pages_are_counted_anew() -> None:
    failure = error(Cause.TIMEOUT, timedelta(seconds=3), pages_read=2)
    poller, pages = poller_of(world := World(), Script(world, failure, takes=4)), list[int]()
    world.schedule(1, lambda: poller.note_pages(7, 700))
    for moment in (2, 8):
        world.schedule(moment, lambda: pages.append(poller.pages_read))
    outcome, _ = await outcomes_of(poller, 2)

    assert isinstance(outcome, Failed)
    assert (outcome.cause, outcome.retry_after, outcome.pages_read) == (Cause.TIMEOUT, timedelta(seconds=3), 2)
    assert (float(outcome.started.monotonic), float(outcome.ended.monotonic)) == (0, 4)
    assert pages == [7, 0]


async def test_an_exception_other_than_a_source_error_is_raised() -> None:
    class Broken:
        async def snapshot(self) -> Any:
            raise ZeroDivisionError

    world = World()
    with pytest.raises(ZeroDivisionError):
        await outcomes_of(poller_of(world, Broken()), 1)  # type: ignore[arg-type]  # that is the point


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


async def test_outcomes_have_the_interval_of_a_relay_and_the_clocks_around_sleep() -> None:
    slow = Snapshot.of_pages(pages=(), requests=1, served=RelayInfo(50.0, timedelta(seconds=60)))
    script = Script(world := World(), slow, slow, relayed())
    outcomes = await outcomes_of(poller_of(world, script), 4)
    assert [outcome.interval for outcome in outcomes if not isinstance(outcome, Slept)] == [timedelta(seconds=60)] * 4
    assert [float(outcome.asked.monotonic) for outcome in outcomes if isinstance(outcome, Listed)] == [-50, -45]

    world = World()
    world.schedule(2.5, lambda: world.suspend(28_800))
    outcomes = await outcomes_of(poller_of(world, Script(world)), 3)
    (slept,) = [outcome for outcome in outcomes if isinstance(outcome, Slept)]
    assert (float(slept.last_awake.monotonic), float(slept.awake.monotonic)) == (2, 3)
    assert slept.awake.wall - slept.last_awake.wall == 28_801_000


# Sleep in special moments


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


# Properties


def gaps(script: Script) -> list[float]:
    return [later - earlier for earlier, later in zip(script.asked_at, script.asked_at[1:], strict=False)]


async def test_polls_never_end_however_often_they_fail() -> None:
    script = Script(
        world := World(), *[error(cause) for cause in (Cause.SERVER, Cause.UNREACHABLE, Cause.GARBLED)] * 99
    )
    outcomes = await outcomes_of(poller_of(world, script), 300)

    assert all(isinstance(outcome, Failed) for outcome in outcomes)
    assert max(gaps(script)) == 30


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
def test_a_listing_comes_within_little_more_than_a_minute_of_any_outage_and_any_walk(
    cause: Cause, takes: float, pages_read: int, lasts: float, rolls: list[float]
) -> None:
    """A poll just before the recovery, a minute, and the walk."""
    polls, seconds = asyncio.run(recovery((cause, takes, pages_read), lasts, rolls))
    assert polls <= 2
    assert seconds <= takes + 60 + 1


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
