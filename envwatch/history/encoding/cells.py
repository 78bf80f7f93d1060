"""Codecs of fields, and tracked environments as rows of cells.

A cell's number is part of the format: a new cell takes the next free number, and unknown numbers are ignored. Elsewhere
a field's name is part of the format, so renamed fields keep the old name in files (`STORED_NAMES`). `MomentBuilder`
sets the profile's label, which is not stored.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import accumulate
from math import inf
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.alerting.acknowledgements import Ack, OwnAcks
from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import EnvironmentState, Kind
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.presence import Presence, Reason, Verdict
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import ChangeTag, RecentChange, TrackedEnvironment
from envwatch.history.encoding.codecs import (
    COUNT,
    FLAG,
    IDS,
    NUMBER,
    NUMBER_OR_NONE,
    SPAN,
    TEXT,
    TEXT_OR_NONE,
    Codec,
    annotations_of,
    defaults_of,
    is_same,
    list_of,
    members_of,
    number_of,
    optional,
    record,
    several,
    text_of,
    whole_record,
    word,
)
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, ServerMs
from envwatch.model.environment import API_FIELDS, Environment, ValueKind
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.model.text import SafeText


_LATEST_CLOCK: Final = 1e15
"""In ms or s: some 30,000 years."""


def _clock_of(plain: object) -> float:
    """Return a possible clock reading, because all ages depend on the clock."""
    number: float = number_of(plain)
    if not -_LATEST_CLOCK <= number <= _LATEST_CLOCK:
        raise ValueError("no clock shows that")
    return number


_CLOCK: Final[Codec[Any]] = Codec(lambda number: number, _clock_of)
CLOCKS: Final = record(Clocks, wall=_CLOCK, monotonic=_CLOCK)

_CODECS: Final[Mapping[ValueKind, Codec[Any]]] = {
    ValueKind.TEXT: TEXT,
    ValueKind.INSTANT: NUMBER,
    ValueKind.OBJECT: Codec(lambda members: members, members_of),
}
_DEFAULTS: Final = defaults_of(Environment)

ENVIRONMENT_FIELDS: Final[Mapping[str, Codec[Any]]] = {
    each.name: optional(_CODECS[each.kind]) if _DEFAULTS.get(each.name, each) is None else _CODECS[each.kind]
    for each in API_FIELDS.values()
}
ENVIRONMENT: Final = record(Environment, **ENVIRONMENT_FIELDS)

_FRACTIONS: Final = 4_096
"""A float's resolution for an instant of today, in parts of a ms."""


def _plain_samples(samples: tuple[OffsetBounds, ...]) -> list[Any]:
    """Return bounds as differences, unchanged if not exact."""
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
        return tuple([OffsetBounds(*map(number_of, pair)) for pair in map(list_of, numbers)])
    lows = accumulate(map(COUNT.value, numbers[::2]))
    pairs = zip(lows, map(COUNT.value, numbers[1::2]), strict=True)
    return tuple([OffsetBounds(low / _FRACTIONS, (low + span) / _FRACTIONS + 1_000) for low, span in pairs])


_SAMPLES: Final = Codec(_plain_samples, _samples_of)

_PERIODS: Final[Codec[Any]] = Codec(
    lambda periods: [[kind.value, since] for kind, since in periods.items()],
    lambda plain: MappingProxyType({Kind(kind): number_of(since) for kind, since in map(list_of, list_of(plain))}),
)

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
    "frozenset[SafeText]": IDS,
    "tuple[SafeText, ...]": several(TEXT),
    "tuple[OffsetBounds, ...]": _SAMPLES,
    **{kind.__name__: word(kind) for kind in (Anomaly, Cause, Kind, Presence, Reason)},
}
"""Codecs by annotation."""


def codecs_of(kind: Any, *without: str) -> dict[str, Codec[Any]]:  # noqa: ANN401  any class
    """Return the codecs of a record's fields by name, in the order of declaration."""
    found: dict[str, Codec[Any]] = {}
    for name, annotation in annotations_of(kind).items():
        if name not in without:
            codec = _BY_TYPE[annotation.removesuffix(" | None")]
            found[name] = optional(codec) if annotation.endswith(" | None") else codec
    return found


for _kind in (Ack, AnomalyFinding, Failed, QuarantinedListing, ServerClock, StallDetector, Verdict, EnvironmentState):
    _BY_TYPE[_kind.__name__] = record(_kind, **codecs_of(_kind))
_BY_TYPE["Limits"] = whole_record(Limits, **codecs_of(Limits))
_BY_TYPE["Snapshot"] = record(
    partial(Snapshot, pages=(), rows={}, served=None), **codecs_of(Snapshot, "pages", "rows", "served")
)

PROFILE_STATE: Final[Mapping[str, Codec[Any]]] = codecs_of(ProfileState, "profile", "server", "environments", "earlier")


def plain_acks(acks: OwnAcks) -> list[Any]:
    """Return acknowledgements in order."""
    return [[id_, _BY_TYPE["Ack"].plain(ack)] for id_, ack in acks.items()]


def acks_of(plain: object) -> OwnAcks:
    """Return acknowledgements from `plain_acks`."""
    return MappingProxyType({text_of(id_): _BY_TYPE["Ack"].value(ack) for id_, ack in map(list_of, list_of(plain))})


EncodedRow: TypeAlias = "list[Any]"

_TOLERANCE_MS: Final = 30_000.0
"""Part of the format, like the sum in `CompactSkewCheck.for_heartbeat`."""


class CompactSkewCheck(NamedTuple):
    """A skew check without bounds, which follow from the heartbeat."""

    listed_at: MonotonicS
    previous_elapsed_ms: float | None

    @classmethod
    def read(cls, listed_at: object, previous_elapsed_ms: object) -> CompactSkewCheck:
        """Return a check from unchecked values."""
        return cls(number_of(listed_at), NUMBER_OR_NONE.value(previous_elapsed_ms))

    def for_heartbeat(self, beat_at: ServerMs) -> SkewCheck:
        """Return the full skew check."""
        listed_at, previous_ms = self
        highest_ms = inf if previous_ms is None else beat_at - previous_ms + _TOLERANCE_MS
        return SkewCheck(listed_at, previous_ms, beat_at - listed_at * 1000 - _TOLERANCE_MS, highest_ms)


def row_of(tracked: TrackedEnvironment) -> EncodedRow:
    """Return the cells of an environment."""
    return [*_cells_of(tracked)]


def tracked_of(row: EncodedRow, profile: SafeText) -> TrackedEnvironment:
    """Return the environment of a row."""
    # Calling `__init__` takes twice as long.
    environment = object.__new__(Environment)
    for put, value in zip(_ENVIRONMENT_SLOTS, _environment_cells(row), strict=True):
        put(environment, value)
    tracked = object.__new__(TrackedEnvironment)
    for put, value in zip(_TRACKED_SLOTS, (environment, profile, None, *_tracked_cells(row)), strict=True):
        put(tracked, value)
    check = row[CHECK]
    if type(check) is CompactSkewCheck:
        _put_check(tracked, check.for_heartbeat(row[BEAT]))
    return tracked


def changed_cells(before: EncodedRow, after: EncodedRow) -> list[int]:
    """Return the numbers of cells with another value or type."""
    return [
        number
        for number, (old, new) in enumerate(zip(before, after, strict=True))
        if old is not new and not is_same(old, new)
    ]


@lru_cache(maxsize=256)
def _verdict(presence: str, reason: str, is_up: bool) -> Verdict:  # noqa: FBT001  as its fields
    return Verdict(Presence(presence), Reason(reason), FLAG.value(is_up))


def _listed(make: Callable[..., Any]) -> Codec[Any]:
    return Codec(list, lambda plain: make(*list_of(plain)))


def _plain_check(check: SkewCheck) -> list[Any]:
    return [] if is_same(check, _UNCHECKED) else [*check]


def _check_of(plain: object) -> SkewCheck | CompactSkewCheck:
    numbers = list_of(plain)
    if not numbers:
        return _UNCHECKED
    listed_at, previous_ms, *bounds = numbers
    check = CompactSkewCheck.read(listed_at, previous_ms)
    if not bounds:
        return check
    lowest_ms, highest_ms = bounds
    return SkewCheck(*check, number_of(lowest_ms), number_of(highest_ms))


_UNCHECKED: Final = SkewCheck()

_TRACKED: Final[Mapping[str, tuple[int, Codec[Any]]]] = {
    "verdict": (16, _listed(_verdict)),
    "since_at": (17, NUMBER_OR_NONE),
    "last_change": (18, optional(_listed(lambda tag, at: RecentChange(ChangeTag(tag), number_of(at))))),
    "skew_check": (19, Codec(_plain_check, _check_of)),
    "clock_suspect": (20, FLAG),
    "has_impossible_time": (21, FLAG),
    "last_known_heartbeat": (
        22,
        optional(_listed(lambda id_, at, ms: LastHeartbeat(text_of(id_), number_of(at), number_of(ms)))),
    ),
    "left_pod_id": (23, TEXT_OR_NONE),
    "absent": (24, COUNT),
    "transitions": (25, several(NUMBER)),
    "is_flapping": (26, FLAG),
    "replaced_by": (27, TEXT_OR_NONE),
    "replaced_by_name": (28, TEXT_OR_NONE),
    "twins": (29, IDS),
    "offline_beside": (30, IDS),
}
"""Numbers and codecs by field; numbers 0 to 15 are in `API_FIELDS`."""


_CELLS: Final = dict(
    sorted(
        [
            *((API_FIELDS[name].number, (f"environment.{name}", codec)) for name, codec in ENVIRONMENT_FIELDS.items()),
            *((number, (name, codec)) for name, (number, codec) in _TRACKED.items()),
        ]
    )
)
_COUNT: Final = len(ENVIRONMENT_FIELDS) + len(_TRACKED)
if [*_CELLS] != [*range(_COUNT)]:
    raise TypeError(f"the numbers of cells must be 0 to {_COUNT - 1}, each once: the next is free for a new field")

NAMES: Final = tuple(path.rpartition(".")[2] for path, _ in _CELLS.values())
CODECS: Final = tuple(codec for _, codec in _CELLS.values())
"""`MEMBERS` has a special codec."""

DEFAULTS: Final[Mapping[str, Any]] = {**defaults_of(Environment), **defaults_of(TrackedEnvironment)}
"""Values of fields that an older version did not write."""

ID: Final = NAMES.index("id")
SEEN: Final = NAMES.index("last_seen_at")
BEAT: Final = NAMES.index("last_heartbeat_at")
CHECK: Final = NAMES.index("skew_check")
MEMBERS: Final = tuple(each.number for each in API_FIELDS.values() if each.kind is ValueKind.OBJECT)

CELLS: Final = tuple(attrgetter(path) for path, _ in _CELLS.values())
"""Functions that return a cell of a `TrackedEnvironment`."""
_cells_of: Callable[[TrackedEnvironment], tuple[Any, ...]] = attrgetter(*(path for path, _ in _CELLS.values()))
_ENVIRONMENT_SLOTS: Final = [getattr(Environment, name).__set__ for name in API_FIELDS]
_TRACKED_SLOTS: Final = [
    getattr(TrackedEnvironment, name).__set__ for name in ("environment", "profile", "uptime", *_TRACKED)
]
_put_check: Final = vars(TrackedEnvironment)["skew_check"].__set__
_environment_cells: Callable[[EncodedRow], tuple[Any, ...]] = itemgetter(*(each.number for each in API_FIELDS.values()))
_tracked_cells: Callable[[EncodedRow], tuple[Any, ...]] = itemgetter(*(number for number, _ in _TRACKED.values()))


def plain_check(check: SkewCheck, beat_at: ServerMs | None) -> list[Any]:
    """Return the skew check of a heartbeat, compact if possible."""
    short = CompactSkewCheck(check.listed_at, check.previous_elapsed_ms)
    return [*short] if beat_at is not None and is_same(short.for_heartbeat(beat_at), check) else _plain_check(check)


def settle_check(row: EncodedRow) -> None:
    """Expand a compact skew check before the row's heartbeat changes."""
    check = row[CHECK]
    if type(check) is CompactSkewCheck:
        row[CHECK] = check.for_heartbeat(row[BEAT])
