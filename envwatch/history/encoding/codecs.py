"""Codecs: write values as plain JSON, and read JSON with types checked and texts cleaned.

A recording may come from anybody: a codec returns a value of the right type or raises `ValueError`. A record is a JSON
object by field name, without default values. Unknown names, of a later version, are ignored.

Lists and objects in a row's objects (`metadata`, unknown fields) mostly repeat. A table holds each value once, and a
row holds the entry's number, in a list.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import timedelta
from itertools import chain, islice
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, ForwardRef, Generic, TypeAlias, TypeVar

from pydantic_core import to_json

from envwatch.model.text import LONGEST, SafeText, clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from enum import StrEnum


T = TypeVar("T")
E = TypeVar("E", bound="StrEnum")

_INT_BITS: Final = 1_000
"""An integer with at most this many bits fits a float."""
_US: Final = timedelta(microseconds=1)
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, frozenset})

STORED_NAMES: Final = {"quarantine": "hold", "rejected": "set_aside", "rejected_ids": "set_aside_ids"}


def is_same(one: Any, other: Any) -> bool:  # noqa: ANN401  any values
    """Whether two values are equal, with equal types and member order."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or one != other:
        return False
    if kind in _EQUAL_IS_SAME or (kind is float and one != 0):
        return True
    if isinstance(one, (tuple, list)):
        return all(map(is_same, one, other))
    if kind is dict:
        return [*one] == [*other] and all(map(is_same, one.values(), other.values()))
    return repr(one) == repr(other)


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Writes and reads values of a type."""

    plain: Callable[[T], Any]
    value: Callable[[Any], T]
    """Raises `ValueError` for invalid input."""
    kinds: frozenset[type] = frozenset()
    """Types read without conversion; texts must be clean."""


def _same(value: T) -> T:
    return value


def text_of(plain: object) -> SafeText:
    """Return a cleaned text. Texts that envwatch recorded stay the same."""
    if type(plain) is not str:
        raise ValueError("no text")
    return clean(plain, max(len(plain), LONGEST))


def number_of(plain: object) -> Any:  # noqa: ANN401  an instant of any clock
    """Return a float, which may be infinite, or an integer that fits a float."""
    if type(plain) is float:
        if plain != plain:  # noqa: PLR0124 - only NaN is not itself
            raise ValueError("no number")
    elif type(plain) is not int or plain.bit_length() > _INT_BITS:
        raise ValueError("no number")
    return plain


def _exactly(kind: type[T], what: str) -> Callable[[object], T]:

    def value(plain: object) -> T:
        if type(plain) is not kind:
            raise ValueError(f"no {what}")
        return plain

    return value


_count_of: Final = _exactly(int, "whole number")
list_of: Final[Callable[[object], list[Any]]] = _exactly(list, "list")
object_of: Final[Callable[[object], dict[str, Any]]] = _exactly(dict, "object")

TEXT: Final[Codec[SafeText]] = Codec(_same, text_of, frozenset({str}))
NUMBER: Final[Codec[Any]] = Codec(_same, number_of, frozenset({int, float}))
COUNT: Final[Codec[int]] = Codec(_same, _count_of, frozenset({int}))
FLAG: Final[Codec[bool]] = Codec(_same, _exactly(bool, "flag"), frozenset({bool}))
SPAN: Final[Codec[timedelta]] = Codec(lambda span: span // _US, lambda plain: timedelta(microseconds=_count_of(plain)))
"""Whole microseconds, the resolution of a `timedelta`."""


def optional(codec: Codec[T]) -> Codec[T | None]:
    """Return the codec of an optional value."""
    return Codec(
        lambda value: None if value is None else codec.plain(value),
        lambda plain: None if plain is None else codec.value(plain),
        codec.kinds | {NoneType} if codec.kinds else codec.kinds,
    )


TEXT_OR_NONE: Final = optional(TEXT)
NUMBER_OR_NONE: Final = optional(NUMBER)


def several(codec: Codec[T]) -> Codec[tuple[T, ...]]:
    """Return the codec of a tuple."""
    return Codec(
        lambda values: [codec.plain(value) for value in values],
        lambda plain: tuple([codec.value(each) for each in list_of(plain)]),
    )


def word(kind: type[E]) -> Codec[E]:
    """Return the codec of an enumeration."""
    return Codec(lambda value: value.value, kind)


_NO_IDS: Final = frozenset[SafeText]()
"""Shared, because an empty set takes 216 bytes, and each row has two."""
IDS: Final[Codec[frozenset[SafeText]]] = Codec(sorted, lambda plain: frozenset(map(text_of, list_of(plain))) or _NO_IDS)


def record(kind: Callable[..., T], /, **codecs: Codec[Any]) -> Codec[T]:
    """Return the codec of a value with named fields, without default values.

    `kind` is a dataclass, a named tuple, or a partial application, whose applied fields need no codec.

    Raises:
        TypeError: if a field without a codec would be lost.
    """
    defaults = defaults_of(getattr(kind, "func", kind))
    plain = {name: codec.plain(defaults[name]) for name, codec in codecs.items() if name in defaults}
    return _record(kind, codecs, plain)


def whole_record(kind: Callable[..., T], /, **codecs: Codec[Any]) -> Codec[T]:
    """Return the codec of a record that stores every field, because defaults change between versions."""
    return _record(kind, codecs, {})


def _record(kind: Callable[..., T], codecs: Mapping[str, Codec[Any]], defaults: Mapping[str, Any]) -> Codec[T]:
    lost = set(names_of(getattr(kind, "func", kind))) - codecs.keys() - getattr(kind, "keywords", {}).keys()
    if lost:
        raise TypeError(f"without a codec: {', '.join(sorted(lost))}")

    stored = {name: STORED_NAMES.get(name, name) for name in codecs}

    def plain(value: T) -> dict[str, Any]:
        written = {name: codec.plain(getattr(value, name)) for name, codec in codecs.items()}
        return {
            stored[name]: each
            for name, each in written.items()
            if name not in defaults or not is_same(each, defaults[name])
        }

    def value(plain: object) -> T:
        fields = object_of(plain)
        return kind(
            **{name: codec.value(fields[stored[name]]) for name, codec in codecs.items() if stored[name] in fields}
        )

    return Codec(plain, value)


def defaults_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any class
    """Return default values by field."""
    if not is_dataclass(kind):
        return dict(kind._field_defaults)
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }


def names_of(kind: Any) -> list[str]:  # noqa: ANN401  any class
    """Return the field names."""
    return [field.name for field in fields(kind)] if is_dataclass(kind) else [*kind._fields]


def annotations_of(kind: Any) -> dict[str, str]:  # noqa: ANN401  any class
    """Return the fields' annotations as written, of a module that postpones evaluation."""
    classes = (vars(each).get("__annotations__", {}) for each in reversed(kind.__mro__))
    annotations = dict(chain.from_iterable(each.items() for each in classes))
    written = {name: annotations[name] for name in names_of(kind)}
    # Named tuples keep a reference instead of the text.
    return {name: each.__forward_arg__ if isinstance(each, ForwardRef) else each for name, each in written.items()}


Members: TypeAlias = "dict[str, Any]"

_NESTED: Final = (list, dict)
_KEPT: Final = 4_096
_KEPT_BYTES: Final = 4_096
"""The longest cached value, in bytes of JSON."""
_nested: dict[bytes, Any] = {}


def nested_value(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Return a cleaned list or object; equal values become the same object."""
    text = to_json(value, inf_nan_mode="constants")  # distinguishes 1, 1.0 and true
    known = _nested.get(text)
    if known is None:
        known = cleaned(value)
        if len(text) <= _KEPT_BYTES:
            if len(_nested) >= _KEPT:
                _nested.clear()
            _nested[text] = known
    return known


def members_of(plain: object) -> Members:
    """Return a cleaned object."""
    return {
        text_of(name): text_of(value)
        if type(value) is str
        else nested_value(value)
        if type(value) in _NESTED
        else cleaned(value)
        for name, value in object_of(plain).items()
    }


class MembersWriter:
    """Writes the objects of a frame's rows."""

    def __init__(self) -> None:
        self.table: list[Any] = []
        """The caller must write the table too."""
        self._places: dict[int, int] = {}

    def plain(self, members: Members) -> dict[str, Any]:
        """Return an object as a plain value."""
        return {name: [self._place(value)] if type(value) in _NESTED else value for name, value in members.items()}

    def plain_change(self, before: Members | None, after: Members | None) -> Any:  # noqa: ANN401  a plain value
        """Return `difference_of`; the whole object, or null, if the order of members would otherwise be lost."""
        if before is None or after is None:
            return None if after is None else self.plain(after)
        changed, gone = difference_of(before, after)
        if [*patched(before, changed, gone)] != [*after]:
            return self.plain(after)
        return [self.plain(changed), gone]

    def _place(self, value: Any) -> int:  # noqa: ANN401  any JSON value
        # Rows share equal values (`model.page.Pool`).
        place = self._places.setdefault(id(value), len(self.table))
        if place == len(self.table):
            self.table.append(value)
        return place


class MembersReader:
    """Reads the objects of a frame's rows; equal texts become the same object."""

    def __init__(self, table: Sequence[Any]) -> None:
        self._table = [nested_value(value) for value in table]
        self._texts: dict[str, str] = {}

    def value(self, plain: object) -> Members:
        """Return an object from `MembersWriter.plain`."""
        text, table = self.text, self._table
        return {
            text(name): text(each) if type(each) is str else table[each[0]] if type(each) is list else cleaned(each)
            for name, each in object_of(plain).items()
        }

    def changed(self, before: Members | None, plain: object) -> Members | None:
        """Return an object from `MembersWriter.plain_change`."""
        if plain is None or type(plain) is dict:
            return None if plain is None else self.value(plain)
        changed, gone = list_of(plain)
        if before is None:
            raise ValueError("a change of nothing")
        return patched(before, self.value(changed), list_of(gone))

    def text(self, text: str) -> str:
        """Return a cleaned text."""
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = text_of(text)
        return known


NEW: Final = -1
"""The start of a run of new items."""


def runs_between(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the runs of items that keep the order; items are unique, such as the ids of rows.

    A run is the old start, or `NEW`, and the length. Items outside all runs are gone.
    """
    places = {id_: place for place, id_ in enumerate(before)}
    runs: list[tuple[int, int]] = []
    start = length = 0
    for id_ in after:
        place = places.get(id_, NEW)
        if place == (NEW if start == NEW else start + length) and length:
            length += 1
            continue
        if length:
            runs.append((start, length))
        start, length = place, 1
    if length:
        runs.append((start, length))
    return runs


def reordered(before: Sequence[T], runs: Iterable[Any], new: Sequence[T]) -> list[T]:
    """Return the items after `runs_between`, with the new items in order.

    Raises:
        ValueError: if runs and items do not fit.
    """
    added, items = iter(new), list[T]()
    for start, length in map(list_of, runs):
        if not 0 < length <= len(before) + len(new) - len(items):
            raise ValueError("more items than there are")
        items += islice(added, length) if start == NEW else before[_count_of(start) : start + length]
    if any(True for _ in added):
        raise ValueError("an item without a place")
    return items


def difference_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Members, list[str]]:
    """Return new or changed members, and names of removed members."""
    changed = {name: each for name, each in after.items() if name not in before or not is_same(before[name], each)}
    return changed, [name for name in before if name not in after]


def patched(before: Mapping[str, Any], changed: Mapping[str, Any], gone: Sequence[str]) -> Members:
    """Return an object after a change, new members last."""
    result = {**before, **changed}
    for name in gone:
        result.pop(name, None)
    return result
