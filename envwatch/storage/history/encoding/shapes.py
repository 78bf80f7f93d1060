"""Shapes: how a value is written as plain JSON, and read back with every type checked and every text cleaned.

Pure. A recording may come from anybody, so what is read is untrusted: a shape returns a value of its type, or raises
`ValueError`. A record is a JSON object by the names of its fields; a field with its default value is left out, and a
name that is unknown here, from a later version, is ignored.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from envwatch.model.text import LONGEST, Clean, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import StrEnum

T = TypeVar("T")
E = TypeVar("E", bound="StrEnum")

_INT_BITS: Final = 1_000
"""Of an integer that can be made a float."""
_US: Final = timedelta(microseconds=1)
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, frozenset})


def is_same(one: Any, other: Any) -> bool:  # noqa: ANN401  any values
    """Return whether two values are equal, and so is the type of each value in them and the order of each object."""
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
class Shape(Generic[T]):
    """How values of one type are written and read."""

    plain: Callable[[T], Any]
    value: Callable[[Any], T]
    """Raises `ValueError` for what is no such value."""


def _same(value: T) -> T:
    return value


def text_of(plain: object) -> Clean:
    """Return a text, cleaned again: it is the same text unless it was recorded by another program."""
    if type(plain) is not str:
        raise ValueError("no text")
    return Clean(plain) if plain.isascii() and plain.isprintable() else clean(plain, max(len(plain), LONGEST))


def number_of(plain: object) -> Any:  # noqa: ANN401  an instant of any clock
    """Return a number as it stands: a float, maybe infinite, or an integer that could be one."""
    if type(plain) is float:
        if plain != plain:  # noqa: PLR0124 - only NaN is not itself
            raise ValueError("no number")
    elif type(plain) is not int or plain.bit_length() > _INT_BITS:
        raise ValueError("no number")
    return plain


def _exactly(kind: type[T], what: str) -> Callable[[object], T]:
    """Return what returns a value of exactly a type as it stands."""

    def value(plain: object) -> T:
        if type(plain) is not kind:
            raise ValueError(f"no {what}")
        return plain

    return value


_count_of: Final = _exactly(int, "whole number")
list_of: Final[Callable[[object], list[Any]]] = _exactly(list, "list")
object_of: Final[Callable[[object], dict[str, Any]]] = _exactly(dict, "object")

TEXT: Final[Shape[Clean]] = Shape(_same, text_of)
NUMBER: Final[Shape[Any]] = Shape(_same, number_of)
COUNT: Final[Shape[int]] = Shape(_same, _count_of)
FLAG: Final[Shape[bool]] = Shape(_same, _exactly(bool, "flag"))
SPAN: Final[Shape[timedelta]] = Shape(lambda span: span // _US, lambda plain: timedelta(microseconds=_count_of(plain)))
"""A duration in whole microseconds, which is all that a `timedelta` holds."""


def optional(shape: Shape[T]) -> Shape[T | None]:
    """Return the shape of a value that may be None."""
    return Shape(
        lambda value: None if value is None else shape.plain(value),
        lambda plain: None if plain is None else shape.value(plain),
    )


TEXT_OR_NONE: Final = optional(TEXT)
NUMBER_OR_NONE: Final = optional(NUMBER)


def several(shape: Shape[T]) -> Shape[tuple[T, ...]]:
    """Return the shape of a tuple."""
    return Shape(
        lambda values: [shape.plain(value) for value in values],
        lambda plain: tuple([shape.value(each) for each in list_of(plain)]),
    )


def word(kind: type[E]) -> Shape[E]:
    """Return the shape of an enumeration of words."""
    return Shape(lambda value: value.value, kind)


IDS: Final[Shape[frozenset[Clean]]] = Shape(sorted, lambda plain: frozenset(map(text_of, list_of(plain))))


def record(kind: Callable[..., T], /, **shapes: Shape[Any]) -> Shape[T]:
    """Return the shape of a value with named fields, written as an object.

    Args:
        kind: its class, a dataclass or a named tuple, or a partial application of it.
        shapes: of its fields, all but those that are applied already.

    Raises:
        TypeError: if a field has no shape: it would be lost.
    """
    defaults = defaults_of(getattr(kind, "func", kind))
    plain = {name: shape.plain(defaults[name]) for name, shape in shapes.items() if name in defaults}
    return _record(kind, shapes, plain)


def whole_record(kind: Callable[..., T], /, **shapes: Shape[Any]) -> Shape[T]:
    """Return the shape of a value of which every field is written: their defaults change from version to version."""
    return _record(kind, shapes, {})


def _record(kind: Callable[..., T], shapes: Mapping[str, Shape[Any]], defaults: Mapping[str, Any]) -> Shape[T]:
    lost = set(names_of(getattr(kind, "func", kind))) - shapes.keys() - getattr(kind, "keywords", {}).keys()
    if lost:
        raise TypeError(f"without a shape: {', '.join(sorted(lost))}")

    def plain(value: T) -> dict[str, Any]:
        written = {name: shape.plain(getattr(value, name)) for name, shape in shapes.items()}
        return {
            name: each for name, each in written.items() if name not in defaults or not is_same(each, defaults[name])
        }

    def value(plain: object) -> T:
        fields = object_of(plain)
        return kind(**{name: shape.value(fields[name]) for name, shape in shapes.items() if name in fields})

    return Shape(plain, value)


def defaults_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401  any class
    """Return the defaults of a dataclass or a named tuple, by field."""
    if not is_dataclass(kind):
        return dict(kind._field_defaults)
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }


def names_of(kind: Any) -> list[str]:  # noqa: ANN401  any class
    """Return the fields of a dataclass or a named tuple."""
    return [field.name for field in fields(kind)] if is_dataclass(kind) else [*kind._fields]
