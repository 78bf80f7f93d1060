"""Frames encode moments, whole or as differences, and rebuild them in order.

A KEY is a whole moment, a STEP the difference to the previous moment, a BRIDGE the difference to the newest KEY.
Rebuilding takes a KEY, at most one BRIDGE, and the STEPs since. KEY and BRIDGE also hold the difference to the previous
moment, so reading on keeps unchanged rows.

Most changed rows are a *beat* of a few small numbers: a new heartbeat, a `last_seen_at` moved as far, and a matching
skew check. Further changes are stored by cell, new rows by column.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import accumulate, islice, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.fleet.profile_state import ProfileState
from envwatch.history.encoding.alerts import alerts_of_rows, changed_alerts, gaps_between, plain_alerts
from envwatch.history.encoding.differences import MembersReader, MembersWriter, reordered, runs_between
from envwatch.history.encoding.packing import NONSENSE, FramePart, checksum_of, packed, signed, unpacked, unsigned
from envwatch.history.past import NO_ALERTS, DamagedError, HistoryError, Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerClock
from envwatch.stored.codecs import (
    CLOCKS,
    COUNT,
    PROFILE_STATE,
    STORED_NAMES,
    Codec,
    Members,
    build_codecs,
    is_same,
    list_of,
    object_of,
    record,
    text_of,
)
from envwatch.stored.rows import (
    BEAT,
    CELLS,
    CHECK,
    CODECS,
    DEFAULTS,
    ID,
    MEMBERS,
    NAMES,
    SEEN,
    CompactSkewCheck,
    changed_cells,
    encoded_row,
    plain_check,
    settle_check,
    tracked_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.alerts.acknowledgements import OwnAcks
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText
    from envwatch.stored.rows import EncodedRow


FORMAT_VERSION: Final = 2

_KEY_EVERY: Final = 720
"""An hour of polls every 5 s."""
_BRIDGE_EVERY: Final = 80
"""A BRIDGE is as large as some thirty STEPs, and applying as many takes as long as reading a whole moment."""
_LEVEL: Final = 6


_ACK: Final = record(Ack, **build_codecs(Ack))
_ACKS: Final[Codec[OwnAcks]] = Codec(
    lambda acks: [[id_, _ACK.plain(ack)] for id_, ack in acks.items()],
    lambda plain: MappingProxyType({text_of(id_): _ACK.value(ack) for id_, ack in map(list_of, list_of(plain))}),
)


class FrameKind(IntEnum):
    """The kind of a frame."""

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
        """Moment and frame checksum, like `_key`."""
        self._count = 0

    def encode(self, moment: Moment) -> Frame:
        """Return the next moment's frame, which is a KEY after a `HistoryError`."""
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
"""Units of an instant, in parts of a ms: whole, or a float's resolution today."""

_LONGEST_STEPS: Final = 1 << 60


def difference(before: Moment | None, base: int, after: Moment) -> FramePart:
    """Return the difference from `before`, or a whole moment; `base` is the checksum of `before`'s frame."""
    profile_state, old = after.profile_state, None if before is None else before.profile_state
    rows = _Rows({} if old is None else old.environments, profile_state.environments)
    plain = {"now": CLOCKS.plain(after.now), "fleet": _plain_profile_state(old, profile_state), **rows.plain()}
    if before is None or before.acks != after.acks:
        plain["acks"] = _ACKS.plain(after.acks)
    if change := plain_alerts(NO_ALERTS if before is None else before.alerts, after.alerts, after):
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
    """Return how many newest samples, old and listed, form the clock, or None."""
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
        self._groups: dict[tuple[Any, ...], tuple[list[int], list[int], list[int]]] = {}
        """Beats by unit and skew check: new places, heartbeat advances, further advances of `last_seen_at`."""
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
                self._compare(place, encoded_row(was), encoded_row(tracked))

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
                group = self._groups.setdefault((scale, check, *map(type, check)), ([], [], []))
                for column, number in zip(group, (place, steps, seen_steps - steps), strict=True):
                    column.append(number)
                return True
        return False

    def plain(self) -> dict[str, Any]:
        written = {
            "beats": [
                [*check, scale, len(places), any(aparts)]
                for (scale, check, *_), (places, _, aparts) in self._groups.items()
            ],
            "rows": self._changed,
            # Evaluated while the JSON is written, also filling the table: all columns take 1.4 KiB a row.
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
        for (scale, *_), (places, steps, aparts) in self._groups.items():
            numbers += gaps_between(places)
            numbers += signed(step - USUAL_MS * scale for step in steps)
            numbers += signed(aparts) if any(aparts) else []
        return numbers


def _steps(before: float, after: float, scale: int) -> int | None:
    steps = (after - before) * scale
    if not -_LONGEST_STEPS < steps < _LONGEST_STEPS:
        return None
    whole = int(steps)
    return whole if is_same(later(before, whole, scale), after) else None


def later(instant: float, steps: int, scale: int) -> float:
    """Return an instant after steps; the calculation is part of the format."""
    return instant + (steps if scale == 1 else steps / scale)


_BUILT: Final = len(NAMES)
"""The cell with the row's object, or None after a change."""


class MomentBuilder:
    """A moment under a profile's label, changed by frames."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._rows: list[EncodedRow] = []
        self._fields: dict[str, Any] = {}
        self._alerts = NO_ALERTS
        self._checksum: int | None = None
        """None without a frame, and after damage."""

    def copy(self) -> MomentBuilder:
        """Return an independent builder after the same frame."""
        copy = MomentBuilder(self._profile)
        copy.__dict__ |= self.__dict__ | {"_rows": [row[:] for row in self._rows]}
        return copy

    def apply(self, frame: Frame) -> None:
        """Apply any KEY, a BRIDGE right after the KEY, or the next frame.

        Raises `DamagedError` for damage or a gap; a KEY must follow.
        """
        last, self._checksum = self._checksum, None
        parts = unpacked(frame.data)
        part = next((part for part in reversed(parts) if part.base == last), None)
        if part is None:
            if frame.kind is not FrameKind.KEY or not parts or parts[0].base:
                raise DamagedError("the frame before it is missing")
            self._rows, self._fields, self._alerts, part = [], {}, NO_ALERTS, parts[0]
        try:
            self._apply(part.plain, iter(part.numbers))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
            raise DamagedError(NONSENSE) from error
        self._checksum = checksum_of(frame.data)

    def _apply(self, plain: Any, numbers: Iterator[int]) -> None:  # noqa: ANN401  any JSON value
        self._now = CLOCKS.value(plain["now"])
        if "acks" in plain:
            self._acks = _ACKS.value(plain["acks"])
        self._apply_fields(plain["fleet"])
        members = MembersReader(list_of(plain.get("nested", [])))
        if "order" in plain:
            new = _new_rows(list_of(plain["new"]), members) if "new" in plain else []
            self._rows = reordered(self._rows, list_of(plain["order"]), new)
        for group in list_of(plain.get("beats", [])):
            self._beat(list_of(group), numbers)
        place = 0
        for gap, *cells in map(list_of, list_of(plain.get("rows", []))):
            place += COUNT.value(gap)
            self._change(place, cells, members)
        if "alerts" in plain:
            self._apply_alerts(plain["alerts"])

    def moment(self) -> Moment:
        """Return the moment, or raise `HistoryError`; unchanged rows are the previous call's objects."""
        if self._checksum is None:
            raise HistoryError("no frame was read")
        try:
            environments = {row[ID]: row[_BUILT] or self._built(row) for row in self._rows}
            profile_state = ProfileState(
                profile=self._profile, environments=MappingProxyType(environments), **self._fields
            )
            alerts = alerts_of_rows(self._alerts, environments)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise HistoryError(NONSENSE) from error
        if len(environments) != len(self._rows):
            raise HistoryError("damaged: two machines have one id")
        return Moment(self._now, profile_state, self._acks, alerts)

    def _built(self, row: EncodedRow) -> TrackedEnvironment:
        row[_BUILT] = tracked = tracked_of(row, self._profile)
        return tracked

    def _apply_fields(self, plain: dict[str, Any]) -> None:
        taken = plain.get("clock")
        fields = {
            name: codec.value(plain[stored])
            for name, codec in PROFILE_STATE.items()
            if (stored := STORED_NAMES.get(name, name)) in plain and not (name == "clock" and type(taken) is list)
        }
        fields = self._fields | fields
        if type(taken) is list:
            kept, count = map(COUNT.value, taken)
            old, listed = fields["clock"].samples, fields["snapshot"].clock
            fields["clock"] = ServerClock((*old[len(old) - kept :], *listed[len(listed) - count :]))
        self._fields = fields

    def _apply_alerts(self, plain: object) -> None:
        rows = self._rows
        self._alerts = changed_alerts(self._alerts, object_of(plain), lambda place: rows[place][ID], self._profile)

    def _beat(self, group: list[Any], numbers: Iterator[int]) -> None:
        listed_at, previous_ms, scale, count, is_apart = group
        check = CompactSkewCheck.read(listed_at, previous_ms)
        if scale not in SCALES:
            raise ValueError("an unknown unit")
        rows = self._rows
        beating = [rows[place] for place in accumulate(_taken(numbers, count))]
        steps = [step + USUAL_MS * scale for step in unsigned(_taken(numbers, count))]
        if is_apart or scale != 1:
            aparts = unsigned(_taken(numbers, count)) if is_apart else repeat(0)
            for row, step, apart in zip(beating, steps, aparts, strict=False):
                row[BEAT] = later(row[BEAT], step, scale)
                row[SEEN] = later(row[SEEN], step + apart, scale)
        else:  # nearly always; `later` is inlined for speed
            for row, step in zip(beating, steps, strict=True):
                row[BEAT] += step
                row[SEEN] += step
        for row in beating:
            row[CHECK] = check
            row[_BUILT] = None

    def _change(self, place: int, cells: list[Any], members: MembersReader) -> None:
        if place < 0:
            raise ValueError("no place")
        row = self._rows[place]
        row[_BUILT] = None
        numbers = cells[::2]
        if BEAT in numbers:
            settle_check(row)
        for number, plain in zip(numbers, cells[1::2], strict=True):
            if COUNT.value(number) < len(NAMES):  # else a cell of a later version
                row[number] = (
                    _members_of(number, row[number], plain, members)
                    if number in MEMBERS
                    else CODECS[number].value(plain)
                )


def _taken(numbers: Iterator[int], count: int) -> list[int]:
    taken = list(islice(numbers, count))
    if len(taken) != count:
        raise ValueError("too few numbers")
    return taken


def _new_rows(columns: list[Any], members: MembersReader) -> list[EncodedRow]:
    known = [_column(number, list_of(column), members) for number, column in enumerate(columns[: len(NAMES)])]
    later_cells = [DEFAULTS[name] for name in NAMES[len(known) :]]
    return [[*cells, *later_cells, None] for cells in zip(*known, strict=True)]


def _column(number: int, column: list[Any], members: MembersReader) -> list[Any]:
    if number in MEMBERS:
        return [_members_of(number, None, plain, members) for plain in column]
    codec = CODECS[number]
    if codec.kinds.issuperset(map(type, column)) and (str not in codec.kinds or _are_plain(column)):
        return column
    return list(map(codec.value, column))


def _members_of(number: int, before: Members | None, plain: object, members: MembersReader) -> Members | None:
    after = members.changed(before, plain)
    if after is None and DEFAULTS[NAMES[number]] is not None:
        raise ValueError("no object")
    return after


def _are_plain(texts: list[Any]) -> bool:
    text = "".join([text for text in texts if text is not None])
    return text.isascii() and text.isprintable()
