"""A tracked environment as a row of numbered cells; a new cell takes the next free number.

Unknown numbers, of later versions, are ignored.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.presence import Presence, Reason, Verdict
from envwatch.fleet.tracking import ChangeTag, RecentChange, TrackedEnvironment
from envwatch.model.environment import API_FIELDS, Environment, ValueKind
from envwatch.stored.codecs import (
    COUNT,
    ENVIRONMENT_FIELDS,
    FLAG,
    IDS,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT_OR_NONE,
    Codec,
    defaults_of,
    is_same,
    list_of,
    object_of,
    optional,
    read_number,
    several,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from envwatch.model.clock import MonotonicS, ServerMs
    from envwatch.model.text import SafeText


EncodedRow: TypeAlias = "list[Any]"

_TOLERANCE_MS: Final = 30_000.0
"""Part of the format, like `CompactSkewCheck.for_heartbeat`."""


class CompactSkewCheck(NamedTuple):
    """A skew check without bounds, which follow from the heartbeat."""

    listed_at: MonotonicS
    previous_elapsed_ms: float | None

    @classmethod
    def read(cls, listed_at: object, previous_elapsed_ms: object) -> CompactSkewCheck:
        """Return a check from unchecked values."""
        return cls(read_number(listed_at), NUMBER_OR_NONE.value(previous_elapsed_ms))

    def for_heartbeat(self, beat_at: ServerMs) -> SkewCheck:
        """Return the full skew check."""
        listed_at, previous_ms = self
        highest_ms = inf if previous_ms is None else beat_at - previous_ms + _TOLERANCE_MS
        return SkewCheck(listed_at, previous_ms, beat_at - listed_at * 1000 - _TOLERANCE_MS, highest_ms)


def encoded_row(tracked: TrackedEnvironment) -> EncodedRow:
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


def plain_row(tracked: TrackedEnvironment, without: Container[str] = ()) -> dict[str, Any]:
    """Return an environment's cells by number, without default values and the fields `without`."""
    return {
        number: plain(value)
        for (number, name, plain, default), value in zip(_PLAIN_CELLS, _cells_of(tracked), strict=True)
        if value is not default and name not in without
    }


def row_of(plain: object, profile: SafeText) -> TrackedEnvironment:
    """Return the environment of `plain_row`; raise `ValueError`, `KeyError` or `TypeError` for anything else."""
    cells = object_of(plain)
    row = [
        codec.value(cells[str(number)]) if str(number) in cells else DEFAULTS[name]
        for number, (name, codec) in enumerate(zip(NAMES, CODECS, strict=True))
    ]
    return tracked_of(row, profile)


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
    return SkewCheck(*check, read_number(lowest_ms), read_number(highest_ms))


_UNCHECKED: Final = SkewCheck()

_TRACKED: Final[Mapping[str, tuple[int, Codec[Any]]]] = {
    "verdict": (16, _listed(_verdict)),
    "since_at": (17, NUMBER_OR_NONE),
    "last_change": (18, optional(_listed(lambda tag, at: RecentChange(ChangeTag(tag), read_number(at))))),
    "skew_check": (19, Codec(_plain_check, _check_of)),
    "clock_suspect": (20, FLAG),
    "has_impossible_time": (21, FLAG),
    "last_known_heartbeat": (
        22,
        optional(_listed(lambda id_, at, ms: LastHeartbeat(text_of(id_), read_number(at), read_number(ms)))),
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
"""Numbers and codecs by field; `API_FIELDS` has numbers 0 to 15."""


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
"""`MembersWriter` replaces the codecs of `MEMBERS`."""

DEFAULTS: Final[Mapping[str, Any]] = {**defaults_of(Environment), **defaults_of(TrackedEnvironment)}
"""Values of fields missing in older files."""
_PLAIN_CELLS: Final = [
    (str(number), name, codec.plain, DEFAULTS.get(name, ...))
    for number, (name, codec) in enumerate(zip(NAMES, CODECS, strict=True))
]

ID: Final = NAMES.index("id")
SEEN: Final = NAMES.index("last_seen_at")
BEAT: Final = NAMES.index("last_heartbeat_at")
CHECK: Final = NAMES.index("skew_check")
MEMBERS: Final = tuple(each.number for each in API_FIELDS.values() if each.kind is ValueKind.OBJECT)

CELLS: Final = tuple(attrgetter(path) for path, _ in _CELLS.values())
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
