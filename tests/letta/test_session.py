"""A session over several targets: none waits for another, and closing ends everything in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.app_harness import target_of
from support.builders import beating, failed, listed
from support.fake_clock import Script, World, poller_of

from envwatch.letta.poller import Poller, Session
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from envwatch.model.outcome import Outcome

A, B = clean("a"), clean("b")


class QueuePoller(Poller):
    def __init__(self) -> None:
        super().__init__(Script(World()), Limits())
        self.asked = 0
        self.is_closed = False
        self._queue: asyncio.Queue[Outcome | Exception] = asyncio.Queue()

    def give(self, outcome: Outcome | Exception) -> None:
        self._queue.put_nowait(outcome)

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        try:
            while True:
                self.asked += 1
                outcome = await self._queue.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            self.is_closed = True


def session_of(**pollers: Poller) -> Session:
    return Session({clean(name): target_of(poller) for name, poller in pollers.items()})


async def test_outcomes_come_with_their_names_in_their_order() -> None:
    a, b = QueuePoller(), QueuePoller()
    one, two, three = listed(beating(1)), failed(), listed([])
    async with session_of(a=a, b=b) as session:
        for poller, expected in ((b, one), (b, two), (a, three)):
            poller.give(expected)
            name, outcome = await anext(session)
            assert (name, outcome) == (B if poller is b else A, expected)


async def test_a_session_is_ready_only_while_an_outcome_waits_to_be_taken() -> None:
    a = QueuePoller()
    async with session_of(a=a, b=QueuePoller()) as session:
        before = session.is_ready
        a.give(failed())
        for _ in range(5):
            await asyncio.sleep(0)
        then = session.is_ready
        assert (await anext(session))[0] == A
        assert (before, then, session.is_ready) == (False, True, False)


async def test_a_silent_target_delays_no_other() -> None:
    a, b = QueuePoller(), QueuePoller()
    async with session_of(a=a, b=b) as session:
        for _ in range(5):
            b.give(failed())
            assert (await anext(session))[0] == B
        assert a.asked == 1


async def test_no_target_is_polled_again_before_its_outcome_was_taken() -> None:
    a = QueuePoller()
    async with session_of(a=a) as session:
        a.give(failed())
        a.give(failed())
        await anext(session)
        await asyncio.sleep(0)
        assert a.asked == 1
        await anext(session)
        assert a.asked == 2


async def test_two_outcomes_at_once_are_both_handed_out() -> None:
    a, b = QueuePoller(), QueuePoller()
    for poller in (a, b, a, b):
        poller.give(failed())
    async with session_of(a=a, b=b) as session:
        for _ in range(2):
            assert {(await anext(session))[0], (await anext(session))[0]} == {A, B}


async def test_a_bug_in_a_poller_or_an_observer_is_raised_and_nothing_is_left_running() -> None:
    a, b = QueuePoller(), QueuePoller()
    before = asyncio.all_tasks()
    async with session_of(a=a, b=b) as session:
        a.give(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await anext(session)
    assert asyncio.all_tasks() == before
    assert b.is_closed

    def fail(_name: SafeText, _outcome: Outcome) -> None:
        raise ZeroDivisionError

    a.give(failed())
    async with Session({A: target_of(a)}, fail) as session:
        with pytest.raises(ZeroDivisionError):
            await anext(session)


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_closing_at_any_time_drops_the_polls_and_then_closes_the_connections(turns: int) -> None:
    a, b, closed = QueuePoller(), QueuePoller(), list[bool]()

    async def close() -> None:
        closed.append(a.is_closed)

    before = asyncio.all_tasks()
    async with Session({A: target_of(a)._replace(close=close), B: target_of(b)}):
        b.give(failed())
        for _ in range(turns):
            await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert closed == [bool(turns)], "a poller without a first step has no end either"
    assert a.is_closed is b.is_closed is bool(turns)


async def test_closing_ends_a_waiting_consumer() -> None:
    a = QueuePoller()
    async with session_of(a=a) as session:
        consumer = asyncio.ensure_future(anext(session, None))
        await asyncio.sleep(0)
    assert await consumer is None
    assert [outcome async for outcome in session] == []
    assert a.is_closed


async def test_entering_starts_the_first_polls_and_observers_get_their_outcomes_at_once() -> None:
    script = Script(world := World())
    seen: list[tuple[SafeText, Outcome]] = []
    async with Session({A: target_of(poller_of(world, script))}, lambda name, outcome: seen.append((name, outcome))):
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(script.asked_at) == 1
        ((name, outcome),) = seen
        assert name == A
        assert isinstance(outcome, Listed)
