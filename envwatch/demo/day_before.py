"""The 24 hours before the opening: a calm day with one pod lost in the night, a roll-out, and a few smaller things.

Each machine's states of that day are a pure function of (fleet, start, local time of day, index), and lead to the state
in which the opening finds it. Knows nothing of listings, JSON and HTTP, nor of what a client saw of that day.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.demo.machines import NEWEST_VERSION, UNRESTRICTED, connection_id, random_at
from envwatch.demo.states import HEARTBEAT_MS
from envwatch.demo.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, TimeWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from envwatch.demo.machines import Machine
    from envwatch.demo.scenarios import FleetSpec
    from envwatch.demo.states import SimulatedEnvironment, SimulatedState

_REST_MS: Final = 30 * MINUTE_MS
"""The opening begins up to 9 minutes before the start; until then, nothing else may be going on."""
_EDGE_MS: Final = 20 * MINUTE_MS
"""Nothing happens so soon after the beginning of the day."""
_APART_MS: Final = 2 * MINUTE_MS
"""Between two outages of one machine, unless it flaps."""

_ROLL_OUT_MS: Final = 30 * MINUTE_MS
_VERSION_BEFORE: Final = "0.34.11"
_POD_BEFORE: Final = "p-4"
"""Pods at the start have higher numbers."""
_ROLLED_OUT_TO: Final = ("build-", "ci-", "gpu-", "staging", "edge-", "nightly", "mac-mini", "🚀")
_BRANCHES: Final = ("main", "feat/export", "chore/deps")
_LAPTOPS: Final = ("-laptop-", "-thinkpad", "-surface", "macbook", "MacBook")
_LEAST_WITH_PODS: Final = 26
_LEAST_WITH_PARTS: Final = 12
"""Sizes of a fleet from which it loses a pod, and machines have parts of their own in the day."""
_ROWS: Final = 1 << 30
"""The random sequence of a row's day is that of its index, from here on."""


class _Outage(NamedTuple):
    """A time in which one machine is down."""

    at: int
    until: int
    is_asleep: bool = False
    """Whether only its heartbeats stop, on a connection that stays."""


class _Change(NamedTuple):
    """From a moment on, a field of the state has a value."""

    at: int
    field: str
    value: str | None


class DayBefore:
    """What happened, and to which machines.

    Args:
        spec: of the fleet.
        started_at: the moment the opening begins, in milliseconds since the epoch.
        time_of_day: of that moment, in milliseconds since midnight, so that nights are nights.
        at_start: gives an environment, by its index, as the opening finds it.
        pods: of the fleet at the start; an environment has that of its index.
    """

    def __init__(
        self,
        spec: FleetSpec,
        started_at: int,
        time_of_day: int,
        *,
        at_start: Callable[[int], SimulatedEnvironment],
        pods: Sequence[str],
    ) -> None:
        self._spec = spec
        self._started_at = started_at
        self._time_of_day = time_of_day
        self._midnight = started_at - time_of_day
        self._at_start = at_start
        self._pods = tuple(pods)
        self.began_at = started_at - DAY_MS
        self.pod_loss = self.span(2, 41, lasts=14 * MINUTE_MS)
        self.roll_out = self.span(10, 5, lasts=_ROLL_OUT_MS)
        self.drift = self.span(13, 20, lasts=95 * MINUTE_MS)
        """One machine runs unrestricted."""
        self.flapping = self.span(16, 40, lasts=25 * MINUTE_MS)
        self.breakdown = self.span(5, 47, lasts=5 * HOUR_MS + 22 * MINUTE_MS)
        """One machine is down."""
        random = random_at(spec.seed, -101)
        self._lost_place = self._fullest_place(random) if spec.size >= _LEAST_WITH_PODS else None
        steady = [*self._steady(random)] if spec.size >= _LEAST_WITH_PARTS else []
        self.broken = steady.pop() if steady else None
        """The index of the machine that breaks down."""
        self._flapper = steady.pop() if steady else None
        self._drifter = next((index for index in steady if at_start(index).last.mode not in UNRESTRICTED), None)

    def span(self, hour: int, minute: int, *, lasts: int) -> TimeWindow:
        """Return the last time of the day that begins at a local time and ends well before the opening.

        Where the day has none, it ends half an hour before the opening.
        """
        until = self._started_at - _REST_MS
        return self._whole_span(hour * HOUR_MS + minute * MINUTE_MS, lasts) or TimeWindow(until - lasts, until)

    def _whole_span(self, time_of_day: int, lasts: int) -> TimeWindow | None:
        at = self._midnight + time_of_day
        at += (self._started_at - _REST_MS - lasts - at) // DAY_MS * DAY_MS
        return TimeWindow(at, at + lasts) if at >= self.began_at + _EDGE_MS else None

    def states(self, found: SimulatedEnvironment) -> list[SimulatedState]:
        """Return the schedule of an environment up to the opening.

        The last state is that in which the opening finds it, but for the time of its connection. What happens has its
        time of the day, so that an opening later on the same day finds the same connections.
        """
        first, random = found.last, random_at(self._spec.seed, _ROWS + found.index)
        if not first.is_beating:
            return self._until_silence(found, random)
        connected_at = self._midnight - random.randrange(DAY_MS + HOUR_MS, 6 * DAY_MS)
        if first.connected_at is not None and first.connected_at <= self.began_at:
            connected_at = first.connected_at - self._time_of_day
        connected_at = max(first.since, connected_at)
        beat_at = connected_at if connected_at > self.began_at else _on_beat(connected_at, first)
        base = replace(first, connected_at=connected_at, beat_at=beat_at)
        outages = sorted(self._outages(found, random))
        return _schedule(base, first, outages, [*self._changes(found, outages, random)], random)

    def _until_silence(self, found: SimulatedEnvironment, random: Random) -> list[SimulatedState]:
        """Return the schedule of an environment that is down at the opening."""
        first = found.last
        if first.seen_at < self.began_at + _EDGE_MS or first.seen_at <= first.since:
            return [first]
        up = first
        if first.connection_id is None:
            up = first.connected(first.since, connection_id(random), self._pods[self._place(found.index)])
        beat_at = first.since + (first.seen_at - first.since) % HEARTBEAT_MS
        return [replace(up, since=first.since, beat_at=beat_at, is_beating=True), replace(first, since=first.seen_at)]

    # Which machines.

    def _place(self, index: int) -> int:
        return index % len(self._pods)

    def _fullest_place(self, random: Random) -> int:
        """Return the place of a pod with many machines up, of three."""
        count = len(self._pods)
        places = random.sample(range(count), k=min(3, count))
        return max(places, key=lambda place: sum(map(self._is_steady, range(place, self._spec.size, count))))

    def _steady(self, random: Random) -> Iterator[int]:
        """Yield machines that may have a part of their own in the day: up, and on none of the lost pod."""
        for index in random.sample(range(self._spec.size), k=min(self._spec.size, 60)):
            if self._place(index) != self._lost_place and self._is_steady(index):
                yield index

    def _is_steady(self, index: int) -> bool:
        """Whether a machine is up at the opening, on a connection older than the day."""
        state = self._at_start(index).last
        return state.is_beating and state.connected_at is not None and state.connected_at < self.began_at

    # What happens to one machine.

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
        """Yield what may happen, the most important first: of two that overlap, the first one happens."""
        moment, length = random.randrange(DAY_MS), random.randrange(2 * MINUTE_MS, 40 * MINUTE_MS)
        chance = random.random()
        gap = random.choice((6, 9, 4 * 60, 11 * 60, 37 * 60, 80 * 60)) * SECOND_MS
        delay, pause = random.randrange(_ROLL_OUT_MS), random.randrange(15 * SECOND_MS, 50 * SECOND_MS)
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
        if any(word in found.machine.identity["name"] for word in _LAPTOPS) and chance < 0.6:
            if night := self._whole_span(19 * HOUR_MS + 30 * MINUTE_MS, 13 * HOUR_MS):
                yield _Outage(night.at + moment % (3 * HOUR_MS), night.until - length, is_asleep=True)
        elif chance < 0.2 and (spare := self._whole_span(moment, length)):
            yield _Outage(*spare)

    def _connecting(self, first: SimulatedState, gap: int) -> Iterator[_Outage]:
        """Yield the outage after which a machine has the connection of the opening, if that is of the day.

        Args:
            first: the state at the opening.
            gap: how long it lasts, in milliseconds.
        """
        if first.connected_at is None or not self.began_at < first.connected_at < self._started_at - _REST_MS:
            return
        if first.since > self.began_at:
            yield _Outage(max(first.since + 1, first.connected_at - gap), first.connected_at)
        elif span := self._whole_span(self._started_at - first.connected_at, gap):
            yield _Outage(*span)

    def _changes(self, found: SimulatedEnvironment, outages: Sequence[_Outage], random: Random) -> Iterator[_Change]:
        """Yield how the fields came to what they are at the opening; nothing for a field that did not change."""
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
        """Return a moment of working hours."""
        at, _ = self.span(9 + random.randrange(9), random.randrange(60), lasts=MINUTE_MS)
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
    """Return the first moment from `at` on in which the heartbeat of the opening would be due."""
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
            if each.at > last.since:  # during an outage, the row has it from the end of that
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
