"""Frames: whole moments, and differences between moments.

A KEY is a whole moment, a STEP is the difference to the previous moment, a BRIDGE is the difference to the newest KEY.
Rebuilding a moment takes a KEY, at most one BRIDGE, and the STEPs since. KEY and BRIDGE also hold the difference to the
previous moment, so reading on keeps unchanged rows.

Most changed rows have a new heartbeat, a `last_seen_at` moved as far, and a matching skew check: such a *beat* is a few
small numbers. Further changes are stored by cell, new rows column by column.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.history.encoding.alerts import plain_alerts
from envwatch.history.encoding.cells import (
    BEAT,
    CELLS,
    CHECK,
    CLOCKS,
    CODECS,
    MEMBERS,
    PROFILE_STATE,
    SEEN,
    CompactSkewCheck,
    changed_cells,
    plain_acks,
    plain_check,
    row_of,
)
from envwatch.history.encoding.codecs import STORED_NAMES, MembersWriter, is_same, runs_between
from envwatch.history.encoding.packing import FramePart, checksum_of, packed, signed
from envwatch.history.moment import NO_ALERTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.encoding.cells import EncodedRow
    from envwatch.history.moment import Moment
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText


FORMAT_VERSION: Final = 2
"""Version 2 adds the alerts of a moment. A file of version 1 that is continued becomes a file of version 2."""

_KEY_EVERY: Final = 720
"""An hour at a poll every 5 s."""
_BRIDGE_EVERY: Final = 80
"""A BRIDGE is as large as some thirty STEPs, and applying as many takes as long as reading a whole moment."""
_LEVEL: Final = 6


class FrameKind(IntEnum):
    """The base of a frame: nothing, the newest KEY, or the previous moment."""

    KEY = 0
    BRIDGE = 1
    STEP = 2


class Frame(NamedTuple):
    """An encoded moment."""

    kind: FrameKind
    data: bytes


class FrameEncoder:
    """Encodes a profile's moments in order."""

    def __init__(self, *, key_every: int = _KEY_EVERY, bridge_every: int = _BRIDGE_EVERY) -> None:
        self._key_every = key_every
        self._bridge_every = bridge_every
        self._key: tuple[Moment, int] | None = None
        self._last: tuple[Moment, int] | None = None
        """The moment and its frame's checksum, like `_key`."""
        self._count = 0

    def encode(self, moment: Moment) -> Frame:
        """Return the frame of the next moment.

        Raises:
            HistoryError: if the moment cannot be encoded; the next frame is then a KEY.
        """
        key, last, count = self._key, self._last, self._count
        self.restart()
        if key is None or last is None or count == self._key_every:
            kind, count = FrameKind.KEY, 0
            parts = [difference(None, 0, moment)]
        elif count % self._bridge_every == 0:
            kind, parts = FrameKind.BRIDGE, [difference(*key, moment)]
        else:
            kind, parts = FrameKind.STEP, []
        if last is not None:
            parts.append(difference(*last, moment))
        data = packed(parts, _LEVEL)
        self._last = (moment, checksum_of(data))
        self._key, self._count = key if kind is not FrameKind.KEY else self._last, count + 1
        return Frame(kind, data)

    def restart(self) -> None:
        """Make the next frame a KEY without a reference."""
        self._key = self._last = None
        self._count = 0


USUAL_MS: Final = 30_000
"""The usual time between heartbeats; beats store the deviation."""
SCALES: Final = (1, 4_096)
"""An instant's resolution in parts of a ms: 1, or a float's resolution today."""

_LONGEST_STEPS: Final = 1 << 60


class _Beat(NamedTuple):
    place: int
    """The row's place after the change."""
    steps: int
    """The heartbeat's advance, in the group's unit."""
    apart: int
    """How much further `last_seen_at` moved than the heartbeat."""


def difference(before: Moment | None, base: int, after: Moment) -> FramePart:
    """Return the difference from `before`, or a whole moment; `base` is the checksum of the frame of `before`."""
    profile_state, old = after.profile_state, None if before is None else before.profile_state
    rows = _Rows({} if old is None else old.environments, profile_state.environments)
    plain = {"now": CLOCKS.plain(after.now), "fleet": _plain_profile_state(old, profile_state), **rows.plain()}
    if before is None or before.acks != after.acks:
        plain["acks"] = plain_acks(after.acks)
    known, alerts = None if before is None else before.alerts, after.alerts
    if alerts is None:
        if known is not None:
            plain["alerts"] = None
    elif (change := plain_alerts(known or NO_ALERTS, alerts, after)) or known is None:
        plain["alerts"] = change
    return FramePart(plain, rows.numbers(), base)


def _plain_profile_state(before: ProfileState | None, after: ProfileState) -> dict[str, Any]:
    plain = {
        STORED_NAMES.get(name, name): codec.plain(getattr(after, name))
        for name, codec in PROFILE_STATE.items()
        if before is None or not is_same(getattr(before, name), getattr(after, name))
    }
    if before is not None and "clock" in plain and (taken := _taken_samples(before, after)):
        plain["clock"] = taken
    return plain


def _taken_samples(before: ProfileState, after: ProfileState) -> list[int] | None:
    """Return how many newest samples of the old clock and of the listing make up the clock, or None if others do."""
    samples, old = after.clock.samples, before.clock.samples
    listed = () if after.snapshot is None else after.snapshot.clock
    for count in range(min(len(samples), len(listed)), 0, -1):
        kept = len(samples) - count
        if is_same((*old[len(old) - kept :], *listed[-count:]), samples):
            return [kept, count]
    return None


class _Rows:
    def __init__(
        self, before: Mapping[SafeText, TrackedEnvironment], after: Mapping[SafeText, TrackedEnvironment]
    ) -> None:
        self._members = MembersWriter()
        self._groups: dict[tuple[Any, ...], list[_Beat]] = {}
        self._changed: list[list[Any]] = []
        self._changed_place = 0
        self._new: list[TrackedEnvironment] = []
        old_order, order = [*before], [*after]
        self._runs = None if old_order == order else runs_between(old_order, order)
        for place, (id_, tracked) in enumerate(after.items()):
            was = before.get(id_)
            if was is None:
                self._new.append(tracked)
            elif was is not tracked:
                self._compare(place, row_of(was), row_of(tracked))

    def _compare(self, place: int, old: EncodedRow, new: EncodedRow) -> None:
        numbers = changed_cells(old, new)
        if BEAT in numbers and self._is_beat(place, old, new):
            numbers = [number for number in numbers if number not in (SEEN, BEAT, CHECK)]
        if numbers:
            cells = [
                each
                for number in numbers
                for each in (number, self._plain(number, old[number], new[number], new[BEAT]))
            ]
            self._changed.append([place - self._changed_place, *cells])
            self._changed_place = place

    def _plain(self, number: int, old: Any, new: Any, beat_at: ServerMs | None) -> Any:  # noqa: ANN401  any JSON value
        if number in MEMBERS:
            return self._members.plain_change(old, new)
        return plain_check(new, beat_at) if number == CHECK else CODECS[number].plain(new)

    def _is_beat(self, place: int, old: EncodedRow, new: EncodedRow) -> bool:
        before, after = old[BEAT], new[BEAT]
        if before is None or after is None:
            return False
        check = CompactSkewCheck(new[CHECK].listed_at, new[CHECK].previous_elapsed_ms)
        if not is_same(check.for_heartbeat(after), new[CHECK]):
            return False
        for scale in SCALES:
            steps, seen_steps = _steps(before, after, scale), _steps(old[SEEN], new[SEEN], scale)
            if steps is not None and seen_steps is not None:
                group = self._groups.setdefault((scale, check, *map(type, check)), [])
                group.append(_Beat(place, steps, seen_steps - steps))
                return True
        return False

    def plain(self) -> dict[str, Any]:
        written = {
            "beats": [
                [*check, scale, len(beats), any(beat.apart for beat in beats)]
                for (scale, check, *_), beats in self._groups.items()
            ],
            "rows": self._changed,
            # Evaluated while the JSON is written, and fills the table then: all columns take 1.4 KiB a row.
            "new": (self._column(number) for number in range(len(CODECS))) if self._new else None,
            "nested": self._members.table,
        }
        order = {} if self._runs is None else {"order": self._runs}
        return order | {name: each for name, each in written.items() if each or (self._new and name == "nested")}

    def _column(self, number: int) -> Iterator[Any]:
        cell_of = CELLS[number]
        for tracked in self._new:
            yield self._plain(number, None, cell_of(tracked), tracked.environment.last_heartbeat_at)

    def numbers(self) -> list[int]:
        numbers: list[int] = []
        for (scale, *_), beats in self._groups.items():
            last = 0
            for beat in beats:
                numbers.append(beat.place - last)
                last = beat.place
            numbers += signed(beat.steps - USUAL_MS * scale for beat in beats)
            if any(beat.apart for beat in beats):
                numbers += signed(beat.apart for beat in beats)
        return numbers


def _steps(before: float, after: float, scale: int) -> int | None:
    """Return the parts of a ms between two instants, or None if not exact."""
    steps = (after - before) * scale
    if not -_LONGEST_STEPS < steps < _LONGEST_STEPS:
        return None
    whole = int(steps)
    return whole if is_same(later(before, whole, scale), after) else None


def later(instant: float, steps: int, scale: int) -> float:
    """Return an instant after steps; the calculation is part of the format."""
    return instant + (steps if scale == 1 else steps / scale)
