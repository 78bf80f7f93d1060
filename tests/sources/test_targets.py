"""Outcomes of several pollers as one stream: none waits for another, none is asked before its last one was taken."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from support.builders import beating, failed, listed

from envwatch.model.text import Clean
from envwatch.sources.targets import merge_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from envwatch.model.outcome import Outcome

A, B = Clean("a"), Clean("b")


class Stream:
    """Outcomes that come when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_closed = False
        self._queue: asyncio.Queue[Outcome | Exception] = asyncio.Queue()

    def give(self, outcome: Outcome | Exception) -> None:
        self._queue.put_nowait(outcome)

    async def outcomes(self) -> AsyncIterator[Outcome]:
        try:
            while True:
                self.asked += 1
                outcome = await self._queue.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            self.is_closed = True


async def test_outcomes_come_with_their_names_in_the_order_in_which_they_happen() -> None:
    a, b = Stream(), Stream()
    one, two, three = listed(beating(1)), failed(), listed([])
    async with aclosing(merge_streams({A: a.outcomes(), B: b.outcomes()})) as stream:
        for given, outcome in ((b, one), (b, two), (a, three)):
            given.give(outcome)
            name, told = await anext(stream)
            assert (name, told) == (B if given is b else A, outcome)


async def test_a_stream_that_is_silent_holds_up_no_other() -> None:
    a, b = Stream(), Stream()
    async with aclosing(merge_streams({A: a.outcomes(), B: b.outcomes()})) as stream:
        for _ in range(5):
            b.give(failed())
            assert (await anext(stream))[0] == B
        assert a.asked == 1


async def test_no_stream_is_asked_again_before_its_outcome_was_taken_in() -> None:
    a = Stream()
    async with aclosing(merge_streams({A: a.outcomes()})) as stream:
        a.give(failed())
        a.give(failed())
        await anext(stream)
        await asyncio.sleep(0)
        assert a.asked == 1
        await anext(stream)
        assert a.asked == 2


async def test_two_that_come_at_once_are_both_handed_out() -> None:
    a, b = Stream(), Stream()
    a.give(failed())
    b.give(failed())
    async with aclosing(merge_streams({A: a.outcomes(), B: b.outcomes()})) as stream:
        assert {(await anext(stream))[0], (await anext(stream))[0]} == {A, B}


async def test_a_bug_in_one_is_not_swallowed_and_nothing_is_left_running() -> None:
    a, b = Stream(), Stream()
    before = asyncio.all_tasks()
    stream = merge_streams({A: a.outcomes(), B: b.outcomes()})
    a.give(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await anext(stream)
    assert asyncio.all_tasks() == before
    assert b.is_closed


async def test_closing_drops_what_is_in_flight() -> None:
    a, b = Stream(), Stream()
    before = asyncio.all_tasks()
    async with aclosing(merge_streams({A: a.outcomes(), B: b.outcomes()})) as stream:
        b.give(failed())
        await anext(stream)
    assert asyncio.all_tasks() == before
    assert a.is_closed
