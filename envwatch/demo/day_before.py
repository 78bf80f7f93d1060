"""The 24 hours before the opening: a calm day with one pod lost in the night, a roll-out, and a few smaller things.

Each machine's states of that day are a pure function of (seed, size, start, local time of day, index), and lead to the
state in which the opening finds it. Knows nothing of listings, JSON and HTTP, nor of what a client saw of that day.
"""

from __future__ import annotations

import time
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.demo.machines import NEWEST_VERSION, connection_id, machine_at, random_at
from envwatch.demo.states import HEARTBEAT_MS, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from envwatch.demo.machines import Machine

_S: Final = 1_000
_MIN: Final = 60 * _S
_HOUR: Final = 60 * _MIN
DAY_MS: Final = 24 * _HOUR

_REST_MS: Final = 30 * _MIN
"""The opening begins up to 9 minutes before the start; until then, nothing else may be going on."""
_EDGE_MS: Final = 20 * _MIN
"""Nothing happens so soon after the beginning of the day."""
_APART_MS: Final = 2 * _MIN
"""Between two outages of one machine, unless it flaps."""

_ROLL_OUT_MS: Final = 30 * _MIN
_VERSION_BEFORE: Final = "0.34.11"
_POD_BEFORE: Final = "p-4"
"""Pods at the start have higher numbers."""
_ROLLED_OUT_TO: Final = ("build-", "ci-", "gpu-", "staging", "edge-", "nightly", "mac-mini", "🚀")
_BRANCHES: Final = ("main", "feat/export", "chore/deps")
_LAPTOPS: Final = ("-laptop-", "-thinkpad", "-surface", "macbook", "MacBook")
UNRESTRICTED: Final = ("unrestricted", "bypassPermissions", "fullAccess")
_LEAST_WITH_PODS: Final = 26
_LEAST_WITH_PARTS: Final = 12
"""Sizes of a fleet from which it loses a pod, and machines have parts of their own in the day."""
_ROWS: Final = 1 << 30
"""The random sequence of a row's day is that of its index, from here on."""


class Span(NamedTuple):
    """A part of the day, in milliseconds since the epoch."""

    at: int
    until: int


class _Outage(NamedTuple):
    """A time in which one machine is down."""

    at: int
    until: int
    is_asleep: bool = False
    """Whether only its heartbeats stop, on a connection that stays."""


_Turn: TypeAlias = "tuple[int, str, str | None]"
"""From a moment on, a field of the state has a value."""


def time_of_day(at: int) -> int:
    """Return the milliseconds since midnight at a moment, by this machine's time zone."""
    local = time.localtime(at / 1_000)
    return local.tm_hour * _HOUR + local.tm_min * _MIN + local.tm_sec * _S


class DayBefore:
    """What happened, and to which machines.

    Args:
        size: environments at the start.
        seed: a whole number; another one is another fleet.
        started_at: the moment the opening begins, in milliseconds since the epoch.
        time_of_day: of that moment, in milliseconds since midnight, so that nights are nights.
        first_state: gives the state in which the opening finds a machine, with its index.
        pods: of the fleet at the start; a machine has that of its index.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts of one fleet
        self,
        *,
        size: int,
        seed: int,
        started_at: int,
        time_of_day: int,
        first_state: Callable[[Machine, int], State],
        pods: Sequence[str],
    ) -> None:
        self._size = size
        self._seed = seed
        self._started_at = started_at
        self._midnight = started_at - time_of_day
        self._first_state = first_state
        self._pods = tuple(pods)
        self.began_at = started_at - DAY_MS
        self.pod_loss = self.span(2, 41, lasts=14 * _MIN)
        self.roll_out = self.span(10, 5, lasts=_ROLL_OUT_MS)
        self.drift = self.span(13, 20, lasts=95 * _MIN)
        """One machine runs unrestricted."""
        self.flapping = self.span(16, 40, lasts=25 * _MIN)
        self.breakdown = self.span(5, 47, lasts=5 * _HOUR + 22 * _MIN)
        """One machine is down."""
        random = random_at(seed, -101)
        self._lost_place = self._fullest_place(random) if size >= _LEAST_WITH_PODS else None
        steady = [*self._steady(random)] if size >= _LEAST_WITH_PARTS else []
        self.broken = steady.pop() if steady else None
        """The index of the machine that breaks down."""
        self._flapper = steady.pop() if steady else None
        self._drifter = next((index for index in steady if self._mode_at_start(index) not in UNRESTRICTED), None)

    def span(self, hour: int, minute: int, *, lasts: int) -> Span:
        """Return the last time of the day that begins at a local time and ends well before the opening.

        Where the day has none, it ends half an hour before the opening.
        """
        until = self._started_at - _REST_MS
        return self._whole_span(hour * _HOUR + minute * _MIN, lasts) or Span(until - lasts, until)

    def _whole_span(self, time_of_day: int, lasts: int) -> Span | None:
        at = self._midnight + time_of_day
        at += (self._started_at - _REST_MS - lasts - at) // DAY_MS * DAY_MS
        return Span(at, at + lasts) if at >= self.began_at + _EDGE_MS else None

    def states(self, machine: Machine, first: State, index: int) -> list[State]:
        """Return the schedule of a machine up to the opening.

        The last state is `first`, in which the opening finds it, but for the time of its connection. What happens has
        its time of the day, so that an opening later on the same day finds the same connections.
        """
        random = random_at(self._seed, _ROWS + index)
        if not first.is_beating:
            return self._until_silence(first, index, random)
        before = random.randrange(DAY_MS + _HOUR, 6 * DAY_MS)
        connected_at = self._midnight - before
        if first.connected_at is not None and first.connected_at <= self.began_at:
            connected_at = first.connected_at - (self._started_at - self._midnight)
        connected_at = max(first.since, connected_at)
        beat_at = connected_at if connected_at > self.began_at else _on_beat(connected_at, first)
        base = replace(first, connected_at=connected_at, beat_at=beat_at)
        outages = sorted(self._outages(machine, first, index, random))
        return _schedule(base, first, outages, [*self._turns(machine, first, index, outages, random)], random)

    def _until_silence(self, first: State, index: int, random: Random) -> list[State]:
        """Return the schedule of a machine that is down at the opening."""
        if first.seen_at < self.began_at + _EDGE_MS or first.seen_at <= first.since:
            return [first]
        up = first
        if first.connection_id is None:
            up = first.connected(first.since, connection_id(random), self._pods[index % len(self._pods)])
        beat_at = first.since + (first.seen_at - first.since) % HEARTBEAT_MS
        return [replace(up, since=first.since, beat_at=beat_at, is_beating=True), replace(first, since=first.seen_at)]

    # Which machines.

    def _fullest_place(self, random: Random) -> int:
        """Return the place of a pod with many machines up, of three."""
        count = len(self._pods)
        places = random.sample(range(count), k=min(3, count))
        return max(places, key=lambda place: sum(map(self._is_steady, range(place, self._size, count))))

    def _steady(self, random: Random) -> Iterator[int]:
        """Yield machines that may have a part of their own in the day: up, and on none of the lost pod."""
        for index in random.sample(range(self._size), k=min(self._size, 60)):
            if not self._is_on_lost_pod(index) and self._is_steady(index):
                yield index

    def _is_on_lost_pod(self, index: int) -> bool:
        return index % len(self._pods) == self._lost_place

    def _is_steady(self, index: int) -> bool:
        """Whether a machine is up at the opening, on a connection older than the day."""
        state = self._first_state(machine_at(self._seed, index, self._size), index)
        return state.is_beating and state.connected_at is not None and state.connected_at < self.began_at

    def _mode_at_start(self, index: int) -> str | None:
        return machine_at(self._seed, index, self._size).mode

    # What happens to one machine.

    def _outages(self, machine: Machine, first: State, index: int, random: Random) -> list[_Outage]:
        if index == self._flapper:
            return list(_flaps(self.flapping, random))
        kept: list[_Outage] = []
        for outage in self._candidates(machine, first, index, random):
            is_in_time = max(first.since, self.began_at) + _EDGE_MS <= outage.at
            is_free = all(outage.until + _APART_MS < each.at or each.until + _APART_MS < outage.at for each in kept)
            if is_free and (is_in_time or (first.since > self.began_at and outage.until == first.connected_at)):
                kept.append(outage)
        return kept

    def _candidates(self, machine: Machine, first: State, index: int, random: Random) -> Iterator[_Outage]:
        """Yield what may happen, the most important first: of two that overlap, the first one happens."""
        moment, length, chance = random.randrange(DAY_MS), random.randrange(2 * _MIN, 40 * _MIN), random.random()
        gap = random.choice((6 * _S, 9 * _S, 4 * _MIN, 11 * _MIN, 37 * _MIN, 80 * _MIN))
        delay, pause = random.randrange(_ROLL_OUT_MS), random.randrange(15 * _S, 50 * _S)
        yield from self._connecting(first, gap)
        if index == self.broken:
            yield _Outage(*self.breakdown)
            return
        if index == self._drifter:
            return
        if self._is_on_lost_pod(index):
            yield _Outage(self.pod_loss.at, self.pod_loss.until)
        if self._is_rolled_out_to(machine):
            yield _Outage(self.roll_out.at + delay, self.roll_out.at + delay + pause)
        night = self._whole_span(19 * _HOUR + 30 * _MIN, 13 * _HOUR)
        if any(word in machine.identity["connectionName"] for word in _LAPTOPS) and chance < 0.6:
            if night is not None:
                yield _Outage(night.at + moment % (3 * _HOUR), night.until - length, is_asleep=True)
        elif chance < 0.2 and (spare := self._whole_span(moment, length)) is not None:
            yield _Outage(*spare)

    def _connecting(self, first: State, gap: int) -> Iterator[_Outage]:
        """Yield the outage after which a machine has the connection of the opening, if that is of the day.

        Args:
            first: the state at the opening.
            gap: how long it lasts, in milliseconds.
        """
        if first.connected_at is None or not self.began_at < first.connected_at < self._started_at - _REST_MS:
            return
        if first.since > self.began_at:
            yield _Outage(max(first.since + 1, first.connected_at - gap), first.connected_at)
        elif (span := self._whole_span(self._started_at - first.connected_at, gap)) is not None:
            yield _Outage(*span)

    def _is_rolled_out_to(self, machine: Machine) -> bool:
        name = machine.identity["connectionName"]
        return machine.version == NEWEST_VERSION and machine.metadata is not None and name.startswith(_ROLLED_OUT_TO)

    def _turns(
        self, machine: Machine, first: State, index: int, outages: Sequence[_Outage], random: Random
    ) -> Iterator[_Turn]:
        """Yield how the fields came to what they are at the opening; nothing for a field that did not change."""
        for outage in outages:
            if outage.at == self.pod_loss.at and self._is_on_lost_pod(index):
                yield from ((first.since, "pod_id", _POD_BEFORE), (outage.until, "pod_id", first.pod_id))
            elif self.roll_out.at <= outage.at < self.roll_out.until and self._is_rolled_out_to(machine):
                yield from ((first.since, "version", _VERSION_BEFORE), (outage.until, "version", first.version))
        if index == self._drifter:
            yield from ((self.drift.at, "mode", "unrestricted"), (self.drift.until, "mode", first.mode))
        if first.mode is None or first.branch is None:
            return
        if random.random() < 0.2:
            before = random.choice(
                [branch for branch in ("main", "feat/export", "chore/deps") if branch != first.branch]
            )
            yield from ((first.since, "branch", before), (self._in_the_day(first, random), "branch", first.branch))
        elif random.random() < 0.1 and index != self._drifter:
            before = random.choice([mode for mode in ("standard", "acceptEdits") if mode != first.mode])
            yield from ((first.since, "mode", before), (self._in_the_day(first, random), "mode", first.mode))

    def _in_the_day(self, first: State, random: Random) -> int:
        """Return a moment of working hours."""
        at, _ = self.span(9 + random.randrange(9), random.randrange(60), lasts=_MIN)
        return max(at, first.since + _MIN)


def _flaps(span: Span, random: Random) -> Iterator[_Outage]:
    at = span.at
    while at < span.until - 3 * _MIN:
        until = at + random.randrange(20 * _S, 70 * _S)
        yield _Outage(at, until)
        at = until + random.randrange(25 * _S, 60 * _S)


def _on_beat(at: int, first: State) -> int:
    """Return the first moment from `at` on in which the heartbeat of the opening would be due."""
    return at + ((first.beat_at or 0) - at) % HEARTBEAT_MS


def _schedule(
    base: State, first: State, outages: Sequence[_Outage], turns: Sequence[_Turn], random: Random
) -> list[State]:
    in_order = sorted(turns, key=itemgetter(0))

    def settled(state: State, at: int) -> State:
        values: dict[str, Any] = {field: value for from_, field, value in in_order if from_ <= at}
        return replace(state, since=at, **values)

    links = [connection_id(random) for outage in outages if not outage.is_asleep]
    links.append(first.connection_id or "")
    states = [settled(replace(base, connection_id=links.pop(0)), first.since)]
    happenings: list[tuple[int, _Outage | None]] = [(outage.at, outage) for outage in outages]
    happenings += [(at, None) for at, _, _ in in_order]
    for at, outage in sorted(happenings, key=itemgetter(0)):
        if outage is None:
            if at > states[-1].since:  # during an outage, the row has it from the end of that
                states.append(settled(states[-1], at))
        elif outage.is_asleep:
            asleep = states[-1].silent(at)
            states += [asleep, settled(asleep.awake(outage.until), outage.until)]
        else:
            cut = states[-1].disconnected(at)
            states += [cut, settled(cut.connected(outage.until, links.pop(0), first.pod_id or ""), outage.until)]
    last = states[-1]
    if len(states) > 1:
        at = _on_beat(last.since, first)
        states.append(replace(first, since=at, connected_at=last.connected_at, beat_at=at))
    return states
