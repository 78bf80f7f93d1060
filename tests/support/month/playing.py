"""Plays a script: the input of each poll of a monitor, and the monitor's restarts.

A watcher looks right before and after each visible change, every 10 or 20 s while a message may come, every minute
during a fault, and otherwise every 10 minutes. Rows that are off most of the time are not looked at between.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from support.month.script import (
    BEGIN,
    DAY,
    EXPIRY,
    HOUR,
    MINUTE,
    NEEDED_AFTER,
    SECOND,
    WATCHED_HOURS,
    Change,
    Fault,
    Row,
    Script,
    Trouble,
    covered,
)
from support.month.script import Cause as ScriptCause

from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, Slept, Snapshot
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

STEP: Final = 5 * SECOND
CALM_STEPS: Final = 120
_LATEST: Final = 800
"""Largest delay of a poll, ms; delays keep polls out of step with pings."""
_LATENCY: Final = 80
_BOOTED_S: Final = 1_000.0

_BACK_AFTER: Final = 80 * SECOND
"""A row that is up for this time is back, for every watcher."""
_UP_FOR: Final = 36 * HOUR
_MOSTLY_UP: Final = 0.75
"""A row that was up for a shorter time, or a smaller share of a week, is off most of the time."""

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
            yield Step(at, before, self._outcome(at, started, before, _interval(following - number), present))

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
        return Listed(Snapshot.of_pages(pages=(page,), clock=(bounds,), requests=1), started, ended, interval)


@cache
def _interval(steps: int) -> timedelta:
    """Return the declared interval of a poll: the next poll comes before the profile is blind, after three."""
    return timedelta(milliseconds=max(STEP, STEP * steps // 3 + SECOND))


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


class _Looks:
    """The polls of a watcher, by number."""

    def __init__(self, length: int) -> None:
        self.polls = bytearray(length // STEP)

    def add(self, since: int, until: int, every: int = STEP) -> None:
        """Look from the last poll before a moment to the first poll after another."""
        first, last, step = max((since - _LATEST) // STEP, 0), min(until // STEP + 2, len(self.polls)), every // STEP
        if first < last:
            self.polls[first:last:step] = b"\1" * len(range(first, last, step))


def dense_polls(script: Script) -> bytearray:
    looks = _Looks(script.length)
    looks.add(0, 2 * MINUTE)
    for at in range(WATCHED_HOURS[0], script.length, DAY):
        looks.add(at, at + NEEDED_AFTER + MINUTE, 20 * SECOND)
    _look_at_rows(script, looks)
    _look_at_troubles(script, looks)
    return looks.polls


def _look_at_rows(script: Script, looks: _Looks) -> None:
    rows, weeks = script.rows(), [_Week() for _ in script.first]
    for action in script.actions:
        row, week, at = rows[action.row], weeks[action.row], action.at
        is_up = action.what in (Change.UP, Change.AWAKE)
        may_matter = action.is_notable or week.may_count(at)
        week.change(at, is_up=is_up)
        if is_up:
            row.began_at = at
        if not may_matter or action.what is Change.REMOVED:
            continue
        looks.add(at, at)
        if is_up:
            looks.add(at, at + _BACK_AFTER, 20 * SECOND if action.is_notable else _BACK_AFTER)
            continue
        if action.what is Change.SILENT:
            seen_at = row.last_beat(at) + EXPIRY
            looks.add(seen_at, seen_at)
        if action.is_notable:
            looks.add(at, at + NEEDED_AFTER - 100 * SECOND, 20 * SECOND)
            looks.add(at + NEEDED_AFTER - 100 * SECOND, at + NEEDED_AFTER + 10 * SECOND, 10 * SECOND)
        else:
            looks.add(at, at + NEEDED_AFTER + MINUTE, 30 * SECOND)
    for each in script.episodes:
        if each.cause is ScriptCause.FLAPPING:
            looks.add(each.since, each.until + 12 * MINUTE, 30 * SECOND)


class _Week:
    """The times of a row, to know whether the row was up most of the week."""

    def __init__(self) -> None:
        self._ups: list[tuple[int, int]] = []
        self._up_since: int | None = None
        self._first_at: int | None = None

    def change(self, at: int, *, is_up: bool) -> None:
        if self._first_at is None:
            self._first_at = at
        if is_up and self._up_since is None:
            self._up_since = at
        elif not is_up and self._up_since is not None:
            if at > 0:
                self._ups.append((self._up_since, at))
            else:
                self._first_at = 0
            self._up_since = None

    def may_count(self, at: int) -> bool:
        """Whether the row was up for `_UP_FOR`, and most of the last week."""
        if self._first_at is None:
            return False
        ups = [*self._ups, (self._up_since, at)] if self._up_since is not None else self._ups
        begin = max(self._first_at, at - 7 * DAY)
        up = covered(ups, begin, at)
        return up >= _UP_FOR and up >= _MOSTLY_UP * (at - begin)


def _look_at_troubles(script: Script, looks: _Looks) -> None:
    for since, until, fault, _, _ in script.troubles:
        looks.add(since, since + STEP)
        looks.add(until, until + STEP)
        if until - since < 10 * SECOND:
            continue
        if fault not in _AWAY:
            looks.add(since, min(since + 3 * MINUTE, until), 10 * SECOND)
            looks.add(since, until, MINUTE)
        looks.add(until, until + 2 * MINUTE, 10 * SECOND)
        looks.add(until, until + NEEDED_AFTER + MINUTE, 20 * SECOND)
    for at, _ in script.skews[1:]:
        looks.add(at, at + MINUTE)
        looks.add(at, at + NEEDED_AFTER, 20 * SECOND)
