"""Encoding of events, with members and the environment's state at the time."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.events import Event
from envwatch.history.encoding.differences import difference_of, patched
from envwatch.history.encoding.packing import NONSENSE, FramePart, packed, unpacked
from envwatch.history.past import HistoryError
from envwatch.stored.codecs import Codec, build_codecs, list_of, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envwatch.model.text import SafeText

_LEVEL: Final = 9
_OBJECTS: Final = frozenset({"metadata", "unknown"})
_OF_ROW: Final = ("id", "name")
"""Names and ids of events mostly equal the row's fields."""
_MOST_CHANGED: Final = 9
"""Most changed fields before the whole row is written; a new connection changes eight."""

_FIELDS: Final = build_codecs(Event, "profile", "members")


class EventEncoder:
    """Encodes a file's events; repeated rows, four fifths of an event, become differences."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, int, Mapping[str, Any]]] = {}
        """Event number, place in the event, and whole row, by row id."""

    def encode(self, event: Event, number: int) -> bytes:
        """Return event `number` as bytes without the profile, or raise `HistoryError`."""
        plain = event_codec(event.profile).plain(event)
        for place, one in enumerate(_with_rows(plain)):
            row = one["then"]["environment"]
            known = self._rows.get(row["id"])
            change = None if known is None else _row_change(known[2], row)
            if known is None or change is None:
                self._rows[row["id"]] = (number, place, row)
                continue
            one["then"]["environment"] = [*known[:2], *change]
            for name in _OF_ROW:
                if one.get(name) == row[name]:
                    one[name] = True
        return packed([FramePart(plain)], _LEVEL)


class EventDecoder:
    """Decodes a file's events; `data_of` returns an event's bytes by number."""

    def __init__(self, profile: SafeText, data_of: Callable[[int], bytes]) -> None:
        self._profile = profile
        self._data_of = data_of
        self._rows: dict[tuple[int, int], Mapping[str, Any]] = {}

    def decode(self, data: bytes) -> Event:
        """Return an event from `EventEncoder.encode`, or raise `HistoryError`."""
        try:
            plain = _plain_of(data)
            for one in _with_rows(plain):
                row = one["then"]["environment"]
                if type(row) is list:
                    number, place, changed, gone = row
                    one["then"]["environment"] = row = _changed_row(self._row(number, place), changed, gone)
                    one.update({name: row[name] for name in _OF_ROW if one.get(name) is True})
            return event_codec(self._profile).value(plain)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise HistoryError(NONSENSE) from error

    def _row(self, number: int, place: int) -> Mapping[str, Any]:
        row = self._rows.get((number, place))
        if row is None:
            row = _with_rows(_plain_of(self._data_of(number)))[place]["then"]["environment"]
            self._rows[number, place] = row
        if type(row) is not dict:
            raise ValueError("a machine that is not whole")
        return row


def _plain_of(data: bytes) -> Any:  # noqa: ANN401  any JSON value
    (part,) = unpacked(data)
    return part.plain


def _row_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]] | None:
    changed, gone = difference_of(before, after)
    if len(changed) > _MOST_CHANGED:
        return None
    for name in _OBJECTS & changed.keys() & before.keys():
        members = difference_of(before[name], after[name])
        if [*patched(before[name], *members)] == [*after[name]]:
            changed[name] = members
    return changed, gone


def _changed_row(row: Mapping[str, Any], changed: Mapping[str, Any], gone: Sequence[str]) -> Mapping[str, Any]:
    result = patched(row, changed, gone)
    for name in _OBJECTS & changed.keys():
        if type(changed[name]) is list:
            result[name] = patched(row[name], *changed[name])
    return result


def _with_rows(plain: Any) -> list[dict[str, Any]]:  # noqa: ANN401  any JSON value
    members = [each for member in plain.get("members", ()) for each in _with_rows(member)]
    return members if plain.get("then") is None else [plain, *members]


@lru_cache(maxsize=64)
def event_codec(profile: SafeText) -> Codec[Event]:
    """Return the codec of a profile's events, with whole rows."""
    members: Codec[tuple[Event, ...]] = Codec(
        lambda events: [codec.plain(member) for member in events],
        lambda plain: tuple([codec.value(member) for member in list_of(plain)]),
    )
    codec = record(partial(Event, profile=profile), members=members, **_FIELDS)
    return codec
