"""Plays a script: the input of each poll of a monitor, and the monitor's restarts.

A watcher looks every 5 s for 10 minutes after an event that may need a person, around each visible change of a row, and
until a message about a loss may come; otherwise every 2 minutes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from support.month.script import BEGIN, EXPIRY, HOUR, MINUTE, SECOND, Change, Fault, Row, Script, Trouble

from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.limits import ALERT_AFTER
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, Slept, Snapshot
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

STEP: Final = 5 * SECOND
CALM_STEPS: Final = 24
_LATEST: Final = 800
"""Largest delay of a poll, ms; delays keep polls out of step with pings."""
_LATENCY: Final = 80
_BOOTED_S: Final = 1_000.0

_AFTER_NOTABLE: Final = 10 * MINUTE
_ALERT_AFTER: Final = int(ALERT_AFTER.total_seconds()) * SECOND

_FAILURES: Final = (
    (Cause.SERVER, "500 Internal Server Error"),
    (Cause.UNREACHABLE, "connection refused"),
    (Cause.TIMEOUT, "no answer within 10 s"),
    (Cause.UNAVAILABLE, "cloud_api_shutting_down"),
    (Cause.GARBLED, "HTML, not JSON"),
    (Cause.UNAUTHORIZED, "Unauthorized"),
    (Cause.RATE_LIMITED, "Rate limit exceeded"),
)


class Step(NamedTuple):
    at: int
    """Milliseconds since the script began."""
    now: Clocks
    outcome: Outcome | None
    """None at a restart of the monitor."""


def steps(script: Script, polls: Sequence[int] | None = None) -> Iterator[Step]:
    """Yield a monitor's whole input in order of time; `polls` replaces `dense_polls`."""
    return _Player(script).steps(dense_polls(script) if polls is None else polls)


class Platform:
    """The platform's rows at a moment of a script. Time only moves forward."""

    def __init__(self, script: Script) -> None:
        self._actions = script.actions
        self._rows = script.rows()
        self._listed: dict[int, Row] = {}
        self._next_action = 0

    def environments(self, at: int, faults: Mapping[Fault, Trouble], *, is_odd: bool) -> list[Environment]:
        """Return a listing under faults; of two replicas, the odd one rounds heartbeats."""
        self._act(at)
        for row in self._listed.values():
            if row.beats_at <= at:
                row.beat(at)
        if not faults:
            return [row.environment for row in self._listed.values()]
        if Fault.ROUNDED in faults and not is_odd:
            faults = {fault: trouble for fault, trouble in faults.items() if fault is not Fault.ROUNDED}
        return [env for row in self._listed.values() if (env := _shown(row, faults)) is not None]

    def _act(self, at: int) -> None:
        while self._next_action < len(self._actions) and self._actions[self._next_action].at <= at:
            action = self._actions[self._next_action]
            self._next_action += 1
            row = self._rows[action.row]
            if action.what is Change.REMOVED:
                self._listed.pop(action.row, None)
            else:
                self._listed[action.row] = row
            row.change(action.what, action.at)


class _Player:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._platform = Platform(script)
        self._slept = 0
        """Total sleep of the monitor's machine, ms."""

    def steps(self, dense: Sequence[int]) -> Iterator[Step]:
        script = self._script
        troubles, first = script.troubles, 0
        away: Trouble | None = None  # the newest stop or sleep of the monitor
        before: Clocks | None = None
        skews, skew = iter([*script.skews[1:], (script.length * 2, 0)]), script.skews[0][1]
        next_skew = next(skews)
        numbers = [number for number, is_dense in enumerate(dense) if is_dense or number % CALM_STEPS == 0]
        for number, following in pairwise([*numbers, len(dense)]):
            at = number * STEP + number * 7_919 % _LATEST
            while first < len(troubles) and troubles[first].until <= at:
                first += 1
            present = [each for each in takewhile(_begun_by(at), islice(troubles, first, None)) if at < each.until]
            if (absence := next((each for each in present if each.fault in _AWAY), None)) is not None:
                away = absence
                continue
            while next_skew[0] <= at:
                skew, next_skew = next_skew[1], next(skews)
            if away is not None and away.fault is Fault.ASLEEP:
                self._slept += away.until - away.since
            now = self._clocks(at - _LATENCY, skew)
            if away is not None and away.fault is Fault.STOPPED:
                yield Step(at, now, None)
            elif before is not None and now.slept_since(before):
                yield Step(at, now, Slept(before, now))
            away = None
            started, before = self._clocks(at - _LATENCY // 2, skew), self._clocks(at + _LATENCY // 2, skew)
            yield Step(at, before, self._outcome(at, started, before, _INTERVALS[following - number], present))

    def _clocks(self, at: int, skew: int) -> Clocks:
        return Clocks(WallMs(float(BEGIN + at + skew)), MonotonicS(_BOOTED_S + (at - self._slept) / 1000))

    def _outcome(
        self, at: int, started: Clocks, ended: Clocks, interval: timedelta, present: Sequence[Trouble]
    ) -> Outcome:
        faults = {each.fault: each for each in present}
        if (failing := faults.get(Fault.FAILING)) is not None:
            cause, message = _FAILURES[failing.since % len(_FAILURES)]
            return Failed(cause=cause, message=clean(message), started=started, ended=ended, interval=interval)
        environments = self._platform.environments(at, faults, is_odd=bool(started.wall // STEP % 2))
        error = faults[Fault.WRONG_DATE].error if Fault.WRONG_DATE in faults else 0
        date = (BEGIN + at + error) // 1000 * 1000
        bounds = OffsetBounds.of_answer(date, started.wall, ended.wall)
        page = ListedPage(environments, started.wall)
        return Listed(Snapshot(pages=(page,), clock=(bounds,), requests=1), started, ended, interval)


_INTERVALS: Final = [timedelta(milliseconds=STEP * steps) for steps in range(CALM_STEPS + 1)]
_AWAY: Final = frozenset({Fault.STOPPED, Fault.ASLEEP})


def _begun_by(at: int) -> Callable[[Trouble], bool]:
    return lambda trouble: trouble.since <= at


def _shown(row: Row, faults: Mapping[Fault, Trouble]) -> Environment | None:
    """Return a row as listed under faults; None if the row is not listed."""
    if Fault.EMPTY in faults or any(fault in faults and _is_hit(row, faults[fault]) for fault in _HIDING):
        return None
    beat_at: float | None = row.environment.last_heartbeat_at
    if beat_at is None:
        return row.environment
    if (stalled := faults.get(Fault.STALLED)) is not None and beat_at > BEGIN + stalled.since:
        beat_at = float(BEGIN + row.last_beat(max(stalled.since, row.began_at)))
    if Fault.ROUNDED in faults:
        beat_at += 0.5
    if (wrong := faults.get(Fault.WRONG_TIMES)) is not None and _is_hit(row, wrong):
        beat_at /= 1_000
    if (lost := faults.get(Fault.BEATS_LOST)) is not None and _is_hit(row, lost):
        beat_at = None
    if beat_at == row.environment.last_heartbeat_at:
        return row.environment
    return replace(row.environment, last_heartbeat_at=None if beat_at is None else ServerMs(beat_at))


_HIDING: Final = (Fault.VANISHED, Fault.SHIFTED)


def _is_hit(row: Row, trouble: Trouble) -> bool:
    return (row.salt ^ trouble.since * 2_654_435_761) % 1_000 < trouble.share * 1_000


def dense_polls(script: Script) -> bytearray:
    dense = bytearray(script.length // STEP)
    looks = [(0, _AFTER_NOTABLE), *_looks_at_rows(script), *_looks_at_troubles(script)]
    for since, until in looks:
        first, last = max((since - _LATEST) // STEP, 0), min(until // STEP + 2, len(dense))
        if first < last:
            dense[first:last] = b"\1" * (last - first)
    return dense


def _looks_at_rows(script: Script) -> Iterator[tuple[int, int]]:
    """Yield pairs of moments: a watcher looks right before the first, in between, and right after the second."""
    rows = script.rows()
    for action in script.actions:
        row, last_sign = rows[action.row], action.at
        if action.what in (Change.UP, Change.AWAKE):
            row.began_at = action.at
        elif action.what is Change.SILENT:
            last_sign = row.last_beat(action.at)
        seen_at = last_sign + EXPIRY if action.what is Change.SILENT else action.at
        if action.is_notable:
            yield action.at, seen_at + _AFTER_NOTABLE
        elif action.what in (Change.SILENT, Change.DOWN):
            yield seen_at, last_sign + _ALERT_AFTER + STEP
        elif action.what is not Change.REMOVED:
            yield seen_at, seen_at


def _looks_at_troubles(script: Script) -> Iterator[tuple[int, int]]:
    for trouble in script.troubles:
        yield trouble.since - STEP, trouble.since + _AFTER_NOTABLE
        yield trouble.until - STEP, trouble.until + _AFTER_NOTABLE
        if trouble.fault not in (Fault.WRONG_DATE, *_AWAY) and trouble.until - trouble.since < HOUR:
            yield trouble.since, trouble.until
    for at, _ in script.skews[1:]:
        yield at - STEP, at + _AFTER_NOTABLE
