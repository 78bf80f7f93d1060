"""Codecs write values as plain JSON, and read JSON with types checked and texts cleaned.

Recordings may come from strangers: a codec returns a value of the right type or raises `ValueError`. A record is a JSON
object by field name, without default values; a renamed field keeps its stored name (`STORED_NAMES`). Unknown names, of
later versions, are ignored.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import timedelta
from functools import partial
from itertools import accumulate, chain
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Final, ForwardRef, Generic, TypeAlias, TypeVar

from pydantic_core import to_json

from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import EnvironmentState, Kind
from envwatch.fleet.presence import Presence, Reason, Verdict
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.watched_time import Span
from envwatch.model.acks import Ack
from envwatch.model.clock import Clocks, OffsetBounds, ServerClock
from envwatch.model.environment import API_FIELDS, Environment, ValueKind
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Snapshot
from envwatch.model.text import LONGEST, SafeText, clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum


T = TypeVar("T")
E = TypeVar("E", bound="Enum")

_INT_BITS: Final = 1_000
"""Integers of at most this length fit a float."""
_US: Final = timedelta(microseconds=1)
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, frozenset})

STORED_NAMES: Final = {"quarantine": "hold", "rejected": "set_aside", "rejected_ids": "set_aside_ids"}


def is_same(one: Any, other: Any) -> bool:  # noqa: ANN401  any values
    """Whether two values are equal, with types and member order."""
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
    kinds: frozenset[type] = frozenset()
    """Types read without conversion; texts must be clean."""


def _same(value: T) -> T:
    return value


def text_of(plain: object) -> SafeText:
    """Return a cleaned text; recorded texts stay the same."""
    if type(plain) is not str:
        raise ValueError("no text")
    return clean(plain, max(len(plain), LONGEST))


def read_number(plain: object) -> Any:  # noqa: ANN401  an instant of any clock
    """Return a float (no NaN) or an integer that fits a float."""
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
NUMBER: Final[Codec[Any]] = Codec(_same, read_number, frozenset({int, float}))
COUNT: Final[Codec[int]] = Codec(_same, _count_of, frozenset({int}))
FLAG: Final[Codec[bool]] = Codec(_same, _exactly(bool, "flag"), frozenset({bool}))
SPAN: Final[Codec[timedelta]] = Codec(lambda span: span // _US, lambda plain: timedelta(microseconds=_count_of(plain)))
"""Whole microseconds, the resolution of a `timedelta`."""


def text_up_to(longest: int) -> Codec[SafeText]:
    """Return the codec of a text that is cut to `longest` characters."""

    def value(plain: object) -> SafeText:
        if type(plain) is not str:
            raise ValueError("no text")
        return clean(plain, longest)

    return Codec(_same, value)


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
"""Shared, because an empty set takes 216 bytes, twice in each row."""
IDS: Final[Codec[frozenset[SafeText]]] = Codec(sorted, lambda plain: frozenset(map(text_of, list_of(plain))) or _NO_IDS)


def record(kind: Callable[..., T], /, **codecs: Codec[Any]) -> Codec[T]:
    """Return the codec of a dataclass, named tuple, or partial application.

    Raises `TypeError` if a field has neither codec nor applied value.
    """
    defaults = defaults_of(getattr(kind, "func", kind))
    plain = {name: codec.plain(defaults[name]) for name, codec in codecs.items() if name in defaults}
    return _record(kind, codecs, plain)


def whole_record(kind: Callable[..., T], /, **codecs: Codec[Any]) -> Codec[T]:
    """Return a codec that stores every field, because defaults change between versions."""
    return _record(kind, codecs, {})


def _record(kind: Callable[..., T], codecs: Mapping[str, Codec[Any]], defaults: Mapping[str, Any]) -> Codec[T]:
    lost = set(field_names(getattr(kind, "func", kind))) - codecs.keys() - getattr(kind, "keywords", {}).keys()
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


def field_names(kind: Any) -> list[str]:  # noqa: ANN401  any class
    """Return the field names."""
    return [field.name for field in fields(kind)] if is_dataclass(kind) else [*kind._fields]


def annotations_of(kind: Any) -> dict[str, str]:  # noqa: ANN401  any class
    """Return the fields' annotations as text; the module must postpone evaluation."""
    classes = (vars(each).get("__annotations__", {}) for each in reversed(kind.__mro__))
    annotations = dict(chain.from_iterable(each.items() for each in classes))
    written = {name: annotations[name] for name in field_names(kind)}
    # Named tuples keep a reference instead of the text.
    return {name: each.__forward_arg__ if isinstance(each, ForwardRef) else each for name, each in written.items()}


Members: TypeAlias = "dict[str, Any]"

NESTED: Final = (list, dict)
_KEPT: Final = 4_096
_KEPT_BYTES: Final = 4_096
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
        if type(value) in NESTED
        else cleaned(value)
        for name, value in object_of(plain).items()
    }


_LATEST_CLOCK: Final = 1e15
"""Limit in ms (30,000 years) or seconds; all ages depend on clocks."""


def _clock_of(plain: object) -> float:
    number: float = read_number(plain)
    if not -_LATEST_CLOCK <= number <= _LATEST_CLOCK:
        raise ValueError("no clock shows that")
    return number


CLOCK: Final[Codec[Any]] = Codec(_same, _clock_of)
CLOCKS: Final = record(Clocks, wall=CLOCK, monotonic=CLOCK)

_CODECS: Final[Mapping[ValueKind, Codec[Any]]] = {
    ValueKind.TEXT: TEXT,
    ValueKind.INSTANT: NUMBER,
    ValueKind.NUMBER: NUMBER,
    ValueKind.FLAG: FLAG,
    ValueKind.OBJECT: Codec(lambda members: members, members_of),
}
_DEFAULTS: Final = defaults_of(Environment)

ENVIRONMENT_FIELDS: Final[Mapping[str, Codec[Any]]] = {
    each.name: optional(_CODECS[each.kind]) if _DEFAULTS.get(each.name, each) is None else _CODECS[each.kind]
    for each in API_FIELDS.values()
}
ENVIRONMENT: Final = record(Environment, **ENVIRONMENT_FIELDS)

_FRACTIONS: Final = 4_096
"""Parts of a ms, a float's resolution for today's instants."""


def _plain_samples(samples: tuple[OffsetBounds, ...]) -> list[Any]:
    try:
        whole = [(int(bounds.low * _FRACTIONS), int(bounds.high * _FRACTIONS)) for bounds in samples]
    except (ValueError, OverflowError):
        whole = []
    plain: list[Any] = []
    last = 0
    for low, high in whole:
        plain += [low - last, high - low - 1_000 * _FRACTIONS]
        last = low
    if whole and is_same(_samples_of(plain), samples):
        return plain
    return [[bounds.low, bounds.high] for bounds in samples]


def _samples_of(plain: object) -> tuple[OffsetBounds, ...]:
    numbers = list_of(plain)
    if numbers and type(numbers[0]) is list:
        return tuple([OffsetBounds(*map(read_number, pair)) for pair in map(list_of, numbers)])
    lows = accumulate(map(COUNT.value, numbers[::2]))
    pairs = zip(lows, map(COUNT.value, numbers[1::2]), strict=True)
    return tuple([OffsetBounds(low / _FRACTIONS, (low + span) / _FRACTIONS + 1_000) for low, span in pairs])


_SAMPLES: Final = Codec(_plain_samples, _samples_of)

_PERIODS: Final[Codec[Any]] = Codec(
    lambda periods: [[kind.value, since] for kind, since in periods.items()],
    lambda plain: MappingProxyType({Kind(kind): read_number(since) for kind, since in map(list_of, list_of(plain))}),
)

_SPAN_OF_TIME: Final = Codec(list, lambda plain: Span(*map(read_number, list_of(plain))))

_BY_TYPE: Final[dict[str, Codec[Any]]] = {
    "SafeText": TEXT,
    "str": TEXT,
    "float": NUMBER,
    "ServerMs": NUMBER,
    "WallMs": NUMBER,
    "MonotonicS": NUMBER,
    "int": COUNT,
    "bool": FLAG,
    "timedelta": SPAN,
    "Clocks": CLOCKS,
    "Environment": ENVIRONMENT,
    "Periods": _PERIODS,
    "Span": _SPAN_OF_TIME,
    "frozenset[SafeText]": IDS,
    "tuple[SafeText, ...]": several(TEXT),
    "tuple[OffsetBounds, ...]": _SAMPLES,
    **{kind.__name__: word(kind) for kind in (Anomaly, Cause, Kind, Presence, Reason)},
}


def build_codecs(kind: Any, *without: str) -> dict[str, Codec[Any]]:  # noqa: ANN401  any class
    """Return the codecs of a record's fields, in declared order."""
    found: dict[str, Codec[Any]] = {}
    for name, annotation in annotations_of(kind).items():
        if name not in without:
            codec = _BY_TYPE[annotation.removesuffix(" | None")]
            found[name] = optional(codec) if annotation.endswith(" | None") else codec
    return found


for _kind in (Ack, AnomalyFinding, Failed, QuarantinedListing, ServerClock, StallDetector, Verdict, EnvironmentState):
    _BY_TYPE[_kind.__name__] = record(_kind, **build_codecs(_kind))
_BY_TYPE["Limits"] = whole_record(Limits, **build_codecs(Limits))
_BY_TYPE["Snapshot"] = record(
    partial(Snapshot, pages=(), rows={}, served=None), **build_codecs(Snapshot, "pages", "rows", "served")
)

PROFILE_STATE: Final[Mapping[str, Codec[Any]]] = build_codecs(
    ProfileState, "profile", "server", "environments", "last_run"
)
