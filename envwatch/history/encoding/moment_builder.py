"""Rebuilds moments: frames change rows of cells, which become objects on demand."""

from __future__ import annotations

from itertools import accumulate, islice, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.profile_state import ProfileState
from envwatch.history.encoding.alerts import alerts_of_rows, changed_alerts
from envwatch.history.encoding.cells import (
    BEAT,
    CHECK,
    CLOCKS,
    CODECS,
    DEFAULTS,
    ID,
    MEMBERS,
    NAMES,
    PROFILE_STATE,
    SEEN,
    CompactSkewCheck,
    acks_of,
    settle_check,
    tracked_of,
)
from envwatch.history.encoding.codecs import COUNT, STORED_NAMES, Members, MembersReader, list_of, object_of, reordered
from envwatch.history.encoding.frames import SCALES, USUAL_MS, Frame, FrameKind, later
from envwatch.history.encoding.packing import NONSENSE, checksum_of, unpacked, unsigned
from envwatch.history.moment import NO_ALERTS, Moment
from envwatch.history.past import DamagedError, HistoryError
from envwatch.model.clock import ServerClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.encoding.cells import EncodedRow
    from envwatch.history.moment import RecordedAlerts
    from envwatch.model.text import SafeText

_BUILT: Final = len(NAMES)
"""The last cell has the row's object, or None after a change."""


class MomentBuilder:
    """A moment under a profile's label, changed by frames."""

    def __init__(self, profile: SafeText) -> None:
        self._profile = profile
        self._rows: list[EncodedRow] = []
        self._fields: dict[str, Any] = {}
        self._alerts: RecordedAlerts | None = None
        """Also of rows that are gone."""
        self._checksum: int | None = None
        """None without a frame, and after damage."""

    def copy(self) -> MomentBuilder:
        """Return an independent builder after the same frame."""
        copy = MomentBuilder(self._profile)
        copy.__dict__ |= self.__dict__ | {"_rows": [row[:] for row in self._rows]}
        return copy

    def apply(self, frame: Frame) -> None:
        """Apply any KEY, a BRIDGE right after the KEY, or the next frame.

        Raises:
            DamagedError: if a frame is damaged or missing; the next frame must be a KEY.
        """
        last, self._checksum = self._checksum, None
        parts = unpacked(frame.data)
        part = next((part for part in reversed(parts) if part.base == last), None)
        if part is None:
            if frame.kind is not FrameKind.KEY or not parts or parts[0].base:
                raise DamagedError("the frame before it is missing")
            self._rows, self._fields, self._alerts, part = [], {}, None, parts[0]
        try:
            self._apply(part.plain, iter(part.numbers))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
            raise DamagedError(NONSENSE) from error
        self._checksum = checksum_of(frame.data)

    def _apply(self, plain: Any, numbers: Iterator[int]) -> None:  # noqa: ANN401  any JSON value
        self._now = CLOCKS.value(plain["now"])
        if "acks" in plain:
            self._acks = acks_of(plain["acks"])
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
        """Return the moment; unchanged rows are the previous call's objects.

        Raises:
            HistoryError: without a moment, or for an impossible moment.
        """
        if self._checksum is None:
            raise HistoryError("no frame was read")
        try:
            environments = {row[ID]: row[_BUILT] or self._built(row) for row in self._rows}
            profile_state = ProfileState(
                profile=self._profile, environments=MappingProxyType(environments), **self._fields
            )
            alerts = None if self._alerts is None else alerts_of_rows(self._alerts, environments)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise HistoryError(NONSENSE) from error
        if len(environments) != len(self._rows):
            raise HistoryError("damaged: two rows have one id")
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
        if plain is None:
            self._alerts = None
            return
        rows, known = self._rows, self._alerts or NO_ALERTS
        self._alerts = changed_alerts(known, object_of(plain), lambda place: rows[place][ID], self._profile)

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
