"""A recorder that is made after the first outcome, and pasts that are opened when they are read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, listed
from support.memory_history import MemoryHistory
from support.recording import ALWAYS

from envwatch.cli.late_history import LatePast, LateRecorder
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.history import HistoryError
from envwatch.fleet.monitor import Monitor, MonitorChanges
from envwatch.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.fleet.history import Past

NEVER_S = 1e9


class Closing(MemoryHistory):
    """A history in memory that can be closed once."""

    is_closed = False

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Making:
    """Makes a recorder, and counts how often."""

    def __init__(self, error: Exception | None = None) -> None:
        self.history = Closing()
        self.lines: list[str] = []
        self.count = 0
        self._error = error

    def __call__(self) -> Closing:
        self.count += 1
        if self._error is not None:
            raise self._error
        return self.history

    def recorder(self, delay_s: float = 0.0) -> LateRecorder:
        return LateRecorder(self, self.lines.append, delay_s)

    @property
    def moments(self) -> list[float]:
        """When the polls were that it has got, in seconds after `NOW`."""
        return [(poll.at - NOW) / 1000 for poll in self.history.polls(*ALWAYS)]


def put(recorder: LateRecorder, second: int) -> None:
    """Record a listing at some second after `NOW`."""
    outcome = listed(beating(2, NOW + second * 1000), NOW + second * 1000)
    monitor, changes = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
    recorder.record(NO_PROFILE, outcome, monitor, changes, outcome.ended)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what a thread does sets no event
            await asyncio.sleep(0)


async def test_it_is_made_after_the_first_outcome_and_gets_all_of_them_in_their_order() -> None:
    making = Making()
    recorder = making.recorder()
    await asyncio.sleep(0)
    assert making.count == 0
    put(recorder, 0)
    assert making.count == 0, "drawing comes first"
    put(recorder, 5)
    await until(lambda: making.moments)
    put(recorder, 10)
    assert making.moments == [0, 5, 10]
    recorder.close()
    assert (making.count, making.history.is_closed) == (1, True)


async def test_what_waits_is_written_at_an_early_end() -> None:
    making = Making()
    recorder = making.recorder(NEVER_S)
    put(recorder, 0)
    put(recorder, 5)
    recorder.close()
    assert making.moments == [0, 5]
    assert making.history.is_closed


async def test_without_an_outcome_it_is_never_made() -> None:
    making = Making()
    recorder = making.recorder()
    outcome = listed([])
    recorder.record(None, None, Monitor(), MonitorChanges(), outcome.ended)
    await asyncio.sleep(0)
    recorder.close()
    assert making.count == 0


async def test_no_more_waits_than_fits() -> None:
    making = Making()
    recorder = making.recorder(NEVER_S)
    for second in range(20):
        put(recorder, second)
    recorder.close()
    assert making.moments == [*range(8, 20)]


async def test_a_python_without_sqlite_is_one_line_and_keeps_nothing() -> None:
    making = Making(ImportError("No module named '_sqlite3'"))
    recorder = making.recorder()
    put(recorder, 0)
    await until(lambda: making.lines)
    put(recorder, 5)
    recorder.close()
    (line,) = making.lines
    assert line.startswith("no history is kept: No module named '_sqlite3'; ")

    def open_past() -> Past:
        raise ImportError("No module named '_sqlite3'")

    with pytest.raises(HistoryError, match="_sqlite3"):
        LatePast(open_past).polls(*ALWAYS)


async def test_a_past_is_opened_once_and_only_when_it_is_read() -> None:
    history, opened = MemoryHistory(), list[int]()

    def open_past() -> Past:
        opened.append(1)
        return history

    past = LatePast(open_past)
    assert opened == []
    assert (past.polls(*ALWAYS), past.events(*ALWAYS), [*past.moments([])]) == ([], [], [])
    assert list(past.steps(*ALWAYS)) == []
    assert opened == [1]
