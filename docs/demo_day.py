"""Makes the shipped days before the demo's opening: a calm day with a lost pod, a roll-out and a few smaller events.

`uv run python docs/demo_day.py` writes `envwatch/demo/days/`; `tests/demo/test_day_before.py` compares the files. The
day has gaps: 40 minutes without envwatch, and 6 minutes of server failure. All times count back from the opening,
because the demo moves the day in time.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import to_json

from envwatch.cli.demo_past import SHIPPED_START, PastPoll
from envwatch.cli.demo_settings import uptimes_before
from envwatch.demo.fleet import CONNECTED, DAYS, HEARTBEAT_MS, SimulatedEnvironment, SimulatedFleet
from envwatch.demo.lives import CalmLife, DefaultLife
from envwatch.demo.machines import NEWEST_VERSION, UNRESTRICTED, Role, connection_id, random_at
from envwatch.demo.scenarios import (
    DAY_MS,
    DEFAULT_SEED,
    DEFAULT_SIZE,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    FleetSpec,
    Scenario,
)
from envwatch.fleet.alerting.acknowledgements import ack_of, note_of
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.history.encoding.events import EventEncoder
from envwatch.history.encoding.frames import difference
from envwatch.history.encoding.packing import checksum_of, packed, unpacked
from envwatch.history.past import Moment
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, PollResult, Snapshot
from envwatch.model.page import Pool, page_of
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from random import Random

    from envwatch.demo.fleet import SimulatedState
    from envwatch.demo.machines import Machine
    from envwatch.model.environment import Environment

SPECS: Final = (FleetSpec(DEFAULT_SIZE, DEFAULT_SEED), FleetSpec(DEFAULT_SIZE, DEFAULT_SEED, Scenario.CALM))
"""A fleet for each shipped day."""

INTERVAL: Final = timedelta(seconds=75)
_BEFORE_START_MS: Final = 1_520
"""From the last poll to the opening. Each poll begins half a second past a whole second: the middle of the `Date`
header's bounds is then the right time."""
_ANSWERED_AFTER_MS: Final = 40
_BOOTED_S: Final = 400_000.0
"""The monotonic clock at the start of the day, in seconds."""
_NOTE: Final = "disk is full, OPS-412"
_FAILURE: Final = clean("the demo's server answered 503: Service Unavailable")

_REST_MS: Final = 30 * MINUTE_MS
"""Before the start: the opening begins up to 9 minutes before."""
_EDGE_MS: Final = 20 * MINUTE_MS
"""Free of events at the start of the day."""
_APART_MS: Final = 2 * MINUTE_MS
"""Between two outages of a machine that does not flap."""

_ROLL_OUT_MS: Final = 30 * MINUTE_MS
_NIGHT: Final = (20 * HOUR_MS, 8 * HOUR_MS)
"""From and until, before the opening: laptops sleep."""
_JOBS_END: Final = 10 * HOUR_MS
"""Before the opening, or up to two hours later."""
_NEXT_JOB_AFTER: Final = 5 * HOUR_MS
_VERSION_BEFORE: Final = "0.34.11"
_POD_BEFORE: Final = "p-4"
"""Pods at the start have higher numbers."""
_ROLLED_OUT_TO: Final = ("build-", "ci-", "gpu-", "staging", "edge-", "nightly", "mac-mini", "🚀")
_BRANCHES: Final = ("main", "feat/export", "chore/deps")
_ROWS: Final = 1 << 30
"""A row's random sequence has this number plus the index."""


class TimeWindow(NamedTuple):
    """A span; `until` is excluded."""

    at: int
    until: int

    def covers(self, moment: float) -> bool:
        """Whether a moment is in the span."""
        return self.at <= moment < self.until


class _Outage(NamedTuple):
    at: int
    until: int
    is_asleep: bool = False
    """Whether the connection stays."""


class _Change(NamedTuple):
    """A field's value from a moment on."""

    at: int
    field: str
    value: str | None


class DayBefore:
    """The events of the 24 hours before a fleet's opening, by machine."""

    def __init__(self, fleet: FleetWithDay) -> None:
        self.spec = fleet.spec
        self.started_at = fleet.started_at
        self._at_start = fleet.at_opening
        self._pods = tuple(fleet.pods)
        self.began_at = fleet.started_at - DAY_MS
        self.pod_loss = self._span(0, 44, lasts=14 * MINUTE_MS)
        self.unwatched = self._span(7, 28, lasts=40 * MINUTE_MS)
        self.flapping = self._span(10, 18, lasts=25 * MINUTE_MS)
        self.drift = self._span(13, 38, lasts=95 * MINUTE_MS)
        """One machine runs unrestricted."""
        self.roll_out = self._span(16, 53, lasts=_ROLL_OUT_MS)
        self.breakdown = self._span(21, 11, lasts=5 * HOUR_MS + 22 * MINUTE_MS)
        """One machine is down."""
        self.failing = self._span(21, 48, lasts=6 * MINUTE_MS)
        """The server answers 503."""
        random = random_at(self.spec.seed, -101)
        self._lost_place = self._fullest_place(random)
        steady = [*self._steady(random)]
        self.broken = steady.pop()
        self._flapper = steady.pop()
        self._drifter = next(index for index in steady if self._at_start(index).last.mode not in UNRESTRICTED)

    def _span(self, hours: int, minutes: int, *, lasts: int) -> TimeWindow:
        at = self.started_at - hours * HOUR_MS - minutes * MINUTE_MS
        return TimeWindow(at, at + lasts)

    def states(self, found: SimulatedEnvironment) -> list[SimulatedState]:
        """Return an environment's schedule up to the opening.

        The last state is the opening's state, except for the connection time.
        """
        first, random = found.last, random_at(self.spec.seed, _ROWS + found.index)
        if not first.is_beating:
            return self._until_silence(found, random)
        connected_at = first.connected_at or first.since
        if connected_at > self.began_at:
            connected_at = max(first.since, self.began_at - random.randrange(HOUR_MS, 5 * DAY_MS))
        beat_at = connected_at if connected_at > self.began_at else _on_beat(connected_at, first)
        base = replace(first, connected_at=connected_at, beat_at=beat_at)
        outages = sorted(self._outages(found, random))
        return _schedule(base, first, outages, [*self._changes(found, outages, random)], random)

    def _until_silence(self, found: SimulatedEnvironment, random: Random) -> list[SimulatedState]:
        first = found.last
        if first.seen_at < self.began_at + _EDGE_MS or first.seen_at <= first.since:
            return [first]
        up = first
        if first.connection_id is None:
            up = first.connected(first.since, connection_id(random), self._pods[self._place(found.index)])
        beat_at = first.since + (first.seen_at - first.since) % HEARTBEAT_MS
        return [replace(up, since=first.since, beat_at=beat_at, is_beating=True), replace(first, since=first.seen_at)]

    def _place(self, index: int) -> int:
        return index % len(self._pods)

    def _fullest_place(self, random: Random) -> int:
        """Return the fullest of three random pods."""
        count = len(self._pods)
        places = random.sample(range(count), k=min(3, count))
        return max(places, key=lambda place: sum(map(self._is_steady, range(place, self.spec.size, count))))

    def _steady(self, random: Random) -> Iterator[int]:
        """Yield servers with a steady connection outside the lost pod."""
        for index in random.sample(range(self.spec.size), k=min(self.spec.size, 60)):
            is_server = self._at_start(index).machine.is_server
            if is_server and self._place(index) != self._lost_place and self._is_steady(index):
                yield index

    def _is_steady(self, index: int) -> bool:
        """Whether a machine is up at the opening, connected before the day."""
        state = self._at_start(index).last
        return state.is_beating and state.connected_at is not None and state.connected_at < self.began_at

    def _outages(self, found: SimulatedEnvironment, random: Random) -> list[_Outage]:
        if found.index == self._flapper:
            return [*_flaps(self.flapping, random)]
        first = found.last
        kept: list[_Outage] = []
        for outage in self._candidates(found, random):
            is_in_time = max(first.since, self.began_at) + _EDGE_MS <= outage.at
            is_free = all(outage.until + _APART_MS < each.at or each.until + _APART_MS < outage.at for each in kept)
            if is_free and (is_in_time or (first.since > self.began_at and outage.until == first.connected_at)):
                kept.append(outage)
        return kept

    def _candidates(self, found: SimulatedEnvironment, random: Random) -> Iterator[_Outage]:
        """Yield possible outages, the most important first; a later overlapping outage is dropped."""
        moment, length = random.randrange(DAY_MS), random.randrange(2 * MINUTE_MS, 40 * MINUTE_MS)
        chance = random.random()
        gap = random.choice((6, 9, 4 * 60, 11 * 60, 37 * 60, 80 * 60)) * SECOND_MS
        delay, pause = random.randrange(_ROLL_OUT_MS), random.randrange(5 * SECOND_MS, 30 * SECOND_MS)
        if found.machine.role is Role.LAPTOP:
            fell_asleep, woke = (self.started_at - each for each in _NIGHT)
            yield _Outage(fell_asleep + moment % (3 * HOUR_MS), woke - length, is_asleep=True)
        elif found.machine.role is Role.JOB:
            at = self.started_at - _JOBS_END + moment % (2 * HOUR_MS)
            yield _Outage(at, at + _NEXT_JOB_AFTER + length)
        yield from self._connecting(found.last, gap)
        if found.index == self.broken:
            yield _Outage(*self.breakdown)
            return
        if found.index == self._drifter:
            return
        if self._place(found.index) == self._lost_place:
            yield _Outage(*self.pod_loss)
        if _is_rolled_out_to(found.machine):
            yield _Outage(self.roll_out.at + delay, self.roll_out.at + delay + pause)
        if found.machine.is_server and chance < 0.06:
            at = self.began_at + _EDGE_MS + moment % (DAY_MS - 2 * HOUR_MS)
            yield _Outage(at, at + length)

    def _connecting(self, first: SimulatedState, gap: int) -> Iterator[_Outage]:
        """Yield the outage before a connection that began in the day; `gap` is in ms."""
        if first.connected_at is None or not self.began_at < first.connected_at < self.started_at - _REST_MS:
            return
        yield _Outage(max(first.since + 1, first.connected_at - gap), first.connected_at)

    def _changes(self, found: SimulatedEnvironment, outages: Sequence[_Outage], random: Random) -> Iterator[_Change]:
        """Yield the changes that lead to the opening's values."""
        first = found.last

        def changed(field: str, before: str, at: int) -> tuple[_Change, _Change]:
            return _Change(first.since, field, before), _Change(at, field, getattr(first, field))

        def changed_in_the_day(field: str, values: Sequence[str]) -> tuple[_Change, _Change]:
            before = random.choice([value for value in values if value != getattr(first, field)])
            return changed(field, before, self._in_the_day(first, random))

        for outage in outages:
            if outage.at == self.pod_loss.at and self._place(found.index) == self._lost_place:
                yield from changed("pod_id", _POD_BEFORE, outage.until)
            elif self.roll_out.covers(outage.at) and _is_rolled_out_to(found.machine):
                yield from changed("version", _VERSION_BEFORE, outage.until)
        if found.index == self._drifter:
            yield _Change(self.drift.at, "mode", "unrestricted")
            yield _Change(self.drift.until, "mode", first.mode)
        if first.mode is None or first.branch is None:
            return
        if random.random() < 0.2:
            yield from changed_in_the_day("branch", _BRANCHES)
        elif random.random() < 0.1 and found.index != self._drifter:
            yield from changed_in_the_day("mode", ("standard", "acceptEdits"))

    def _in_the_day(self, first: SimulatedState, random: Random) -> int:
        at = self.started_at - random.randrange(HOUR_MS, 12 * HOUR_MS)
        return max(at, first.since + MINUTE_MS)


def _is_rolled_out_to(machine: Machine) -> bool:
    name = machine.identity["name"]
    return machine.version == NEWEST_VERSION and machine.metadata is not None and name.startswith(_ROLLED_OUT_TO)


def _flaps(span: TimeWindow, random: Random) -> Iterator[_Outage]:
    at = span.at
    while at < span.until - 3 * MINUTE_MS:
        until = at + random.randrange(20 * SECOND_MS, 70 * SECOND_MS)
        yield _Outage(at, until)
        at = until + random.randrange(25 * SECOND_MS, 60 * SECOND_MS)


def _on_beat(at: int, first: SimulatedState) -> int:
    """Return the first moment from `at` on in phase with the opening's heartbeats."""
    return at + ((first.beat_at or 0) - at) % HEARTBEAT_MS


def _schedule(
    base: SimulatedState, first: SimulatedState, outages: Sequence[_Outage], changes: Sequence[_Change], random: Random
) -> list[SimulatedState]:
    in_order = sorted(changes, key=attrgetter("at"))

    def settled(state: SimulatedState, at: int) -> SimulatedState:
        values: dict[str, Any] = {change.field: change.value for change in in_order if change.at <= at}
        return replace(state, since=at, **values)

    links = iter([*(connection_id(random) for outage in outages if not outage.is_asleep), first.connection_id or ""])
    states = [settled(replace(base, connection_id=next(links)), first.since)]
    happenings: list[_Outage | _Change] = [*outages, *in_order]
    for each in sorted(happenings, key=attrgetter("at")):
        last = states[-1]
        if isinstance(each, _Change):
            if each.at > last.since:  # during an outage, the row gets the value at the outage's end
                states.append(settled(last, each.at))
        elif each.is_asleep:
            asleep = last.silent(each.at)
            states += [asleep, settled(asleep.awake(each.until), each.until)]
        else:
            cut = last.disconnected(each.at)
            states += [cut, settled(cut.connected(each.until, next(links), first.pod_id or ""), each.until)]
    last = states[-1]
    if len(states) > 1:
        at = _on_beat(last.since, first)
        states.append(replace(first, since=at, connected_at=last.connected_at, beat_at=at))
    return states


class FleetWithDay(SimulatedFleet):
    """A fleet with a day before the opening."""

    @cached_property
    def day(self) -> DayBefore:
        """The events of the day."""
        return DayBefore(self)

    def at_opening(self, index: int) -> SimulatedEnvironment:
        """Return an environment at the opening, without the day."""
        return super().at_start(index)

    def at_start(self, index: int) -> SimulatedEnvironment:
        """Return an environment with the day's schedule."""
        found = super().at_start(index)
        return SimulatedEnvironment(found.machine, index, *self.day.states(found))

    def connected_for(self, index: int, usual: int) -> int:  # noqa: ARG002 - the day decides
        """Return the age without the day."""
        return usual


class DefaultWithDay(FleetWithDay, DefaultLife):
    """The default story's fleet."""


class ScenarioWithDay(FleetWithDay, CalmLife):
    """The fleet of all scenarios, which begin with the same states."""


def fleet_with_day(spec: FleetSpec, started_at: int) -> FleetWithDay:
    """Return a fleet with its day."""
    return (DefaultWithDay if spec.scenario is None else ScenarioWithDay)(spec, started_at)


def polls_of(fleet: FleetWithDay) -> Iterator[PastPoll]:
    """Yield a fleet's polls from the day's beginning to the opening."""
    day = fleet.day
    limits = {NO_PROFILE: Limits()}
    profile_name = clean("demo")
    acknowledged = TimeWindow(day.breakdown.at + 41 * MINUTE_MS, day.breakdown.until - 2 * MINUTE_MS)
    broken = clean(fleet.environment(day.broken).machine.identity["id"])
    monitor = Monitor.create(limits, profile_name=profile_name)
    uptimes = uptimes_before(fleet.spec)
    starts_run = True
    for outcome in _outcomes(fleet):
        now = outcome.ended
        if day.unwatched.covers(now.wall):
            starts_run = True
            continue
        if starts_run:
            monitor = Monitor.create(limits, profile_name=profile_name).with_acks(monitor.acks)
            monitor = monitor.with_uptime_record(NO_PROFILE, uptimes)
        if acknowledged.covers(now.wall) and not monitor.acks:
            monitor = _with_ack(monitor, broken, now)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        cause = f"{outcome.cause}: {outcome.message}" if isinstance(outcome, Failed) else None
        moment = Moment.of(monitor, NO_PROFILE, now)
        yield PastPoll(moment, PollResult.from_outcome(outcome), changes.events, cause, starts_run)
        starts_run = False


def _with_ack(monitor: Monitor, id_: SafeText, now: Clocks) -> Monitor:
    tracked = monitor.fleet.tracked((NO_PROFILE, id_))
    if tracked is None or tracked.verdict.is_up:
        return monitor
    at = monitor.fleet.for_environment(tracked).clock.server_time(now.wall)
    return monitor.with_acks({(EMPTY, id_): ack_of(tracked, at, note_of(_NOTE))})


def _outcomes(fleet: FleetWithDay) -> Iterator[Listed | Failed]:
    day = fleet.day
    known: dict[SafeText, Environment] = {}
    pool = Pool()
    interval_ms = int(INTERVAL.total_seconds() * 1_000)
    last = fleet.started_at - _BEFORE_START_MS
    for asked in range(day.began_at + (last - day.began_at) % interval_ms, last + 1, interval_ms):
        answered = asked + _ANSWERED_AFTER_MS
        started, ended = _clocks(asked, day), _clocks(answered, day)
        if day.failing.covers(asked):
            yield Failed(cause=Cause.UNAVAILABLE, message=_FAILURE, started=started, ended=ended, interval=INTERVAL)
            continue
        rows, _ = fleet.page(asked, limit=None)
        body = b'{"connections":[%b],"hasNextPage":false}' % b",".join(rows)
        page = page_of(body, known, pool)
        known = {environment.id: environment for environment in page.environments}
        clock = OffsetBounds.of_answer(asked // 1_000 * 1_000, asked, answered)
        snapshot = Snapshot.of_pages(
            pages=(ListedPage(page.environments, WallMs(asked)),), clock=(clock,), requests=1, received=len(body)
        )
        yield Listed(snapshot, started, ended, INTERVAL)


def _clocks(at: int, day: DayBefore) -> Clocks:
    return Clocks(WallMs(at), MonotonicS(_BOOTED_S + (at - day.began_at) / 1_000))


def lines_of(polls: Iterable[PastPoll]) -> Iterator[bytes]:
    """Yield a shipped day's lines, read by `cli/demo_past.py`."""
    before, base, number = None, 0, 0
    event_encoder = EventEncoder()
    for poll in polls:
        frame = packed([difference(before, base, poll.moment)], 1)
        (part,) = unpacked(frame)
        base, before = checksum_of(frame), poll.moment
        events = []
        for event in poll.events:
            number += 1
            (event_part,) = unpacked(event_encoder.encode(event, number))
            events.append(event_part.plain)
        line = {
            "frame": part.plain,
            "numbers": part.numbers,
            "result": poll.result.value,
            "cause": poll.cause,
            "starts_run": poll.starts_run,
            "events": events,
        }
        yield to_json(line, inf_nan_mode="constants") + b"\n"


def files() -> dict[Path, bytes]:
    """Return the content of each shipped file, uncompressed."""
    found: dict[Path, bytes] = {}
    connected: dict[str, int] = {}
    for spec in SPECS:
        fleet = fleet_with_day(spec, SHIPPED_START)
        found[DAYS / f"{spec.day}.jsonl.xz"] = b"".join(lines_of(polls_of(fleet)))
        connected |= dict(_connected_for(fleet))
    found[CONNECTED] = json.dumps(connected, indent=1).encode() + b"\n"
    return found


def _connected_for(fleet: FleetWithDay) -> Iterator[tuple[str, int]]:
    """Yield each environment connected in the day, with the connection's age at the opening."""
    for index in range(fleet.spec.size):
        usual, found = fleet.at_opening(index).last, fleet.at_start(index).last
        if found.connected_at is not None and found.connected_at != usual.connected_at:
            yield str(index), fleet.started_at - found.connected_at


if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if path == CONNECTED else lzma.compress(content, preset=9))
