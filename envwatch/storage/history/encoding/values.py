"""The codecs of the parts of a moment and of an event.

Pure. A profile's label is not part of them: it is stamped on what is read, see `MomentBuilder`. A name in here is part
of the format: a field that is renamed in the code keeps its name in files (`STORED_NAMES`).
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.alerting.acknowledgements import Ack
from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import Kind
from envwatch.fleet.presence import Presence, Reason, Verdict
from envwatch.model.clock import Clocks, OffsetBounds, ServerClock
from envwatch.model.environment import API_FIELDS, Environment, ValueKind
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Snapshot
from envwatch.storage.history.encoding.codecs import (
    COUNT,
    FLAG,
    IDS,
    NUMBER,
    NUMBER_OR_NONE,
    SPAN,
    TEXT,
    TEXT_OR_NONE,
    Codec,
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.alerting.acknowledgements import OwnAcks

_LATEST_CLOCK: Final = 1e15
"""What a clock of ours may show at most, in its unit: some 30,000 years."""


def _clock_of(plain: object) -> float:
    """Return what a clock shows: everything that is shown of a moment is relative to it."""
    number: float = number_of(plain)
    if not -_LATEST_CLOCK <= number <= _LATEST_CLOCK:
        raise ValueError("no clock shows that")
    return number


_CLOCK: Final[Codec[Any]] = Codec(lambda number: number, _clock_of)
CLOCKS: Final = record(Clocks, wall=_CLOCK, monotonic=_CLOCK)
CLOCKS_OR_NONE: Final = optional(CLOCKS)

VERDICT: Final = record(Verdict, presence=word(Presence), reason=word(Reason), is_up=FLAG)

_CODECS: Final[Mapping[ValueKind, Codec[Any]]] = {
    ValueKind.TEXT: TEXT,
    ValueKind.INSTANT: NUMBER,
    ValueKind.OBJECT: Codec(lambda members: members, members_of),
}
_CODECS_OR_NONE: Final[Mapping[ValueKind, Codec[Any]]] = {
    ValueKind.TEXT: TEXT_OR_NONE,
    ValueKind.INSTANT: NUMBER_OR_NONE,
    ValueKind.OBJECT: optional(_CODECS[ValueKind.OBJECT]),
}
_DEFAULTS: Final = defaults_of(Environment)

ENVIRONMENT_FIELDS: Final[Mapping[str, Codec[Any]]] = MappingProxyType(
    {
        each.name: (_CODECS_OR_NONE if _DEFAULTS.get(each.name, each) is None else _CODECS)[each.kind]
        for each in API_FIELDS.values()
    }
)
"""By attribute, in the order of the numbers of `API_FIELDS`."""
ENVIRONMENT: Final = record(Environment, **ENVIRONMENT_FIELDS)

_FRACTIONS: Final = 4_096
"""Parts of a ms to which a float rounds an instant of today, and so most differences of two."""


def _plain_samples(samples: tuple[OffsetBounds, ...]) -> list[Any]:
    """Return bounds as whole parts of a ms, each from the one before on; as they stand where that is not exact."""
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

_HELD: Final = record(
    QuarantinedListing,
    finding=record(AnomalyFinding, anomaly=word(Anomaly), text=TEXT),
    since=NUMBER,
    missing=IDS,
    confirmed_absent=IDS,
    listings=COUNT,
)

_SNAPSHOT: Final = record(
    partial(Snapshot, pages=(), served=None),
    clock=_SAMPLES,
    rejected=COUNT,
    rejected_ids=IDS,
    confirmed_absent=IDS,
    in_doubt=IDS,
    requests=COUNT,
    received=COUNT,
)

_FAILED: Final = record(
    Failed,
    cause=word(Cause),
    message=TEXT,
    started=CLOCKS,
    ended=CLOCKS,
    interval=SPAN,
    retry_after=optional(SPAN),
    pages_read=COUNT,
    page=optional(COUNT),
)

_LIMITS: Final = whole_record(
    Limits,
    online_for=SPAN,
    late_after=SPAN,
    interval=SPAN,
    requests_per_minute=COUNT,
    page_size=COUNT,
    page_deadline=SPAN,
    walk_deadline=SPAN,
    refused_recheck=SPAN,
    max_pages=COUNT,
    max_rows=COUNT,
)

_PERIODS: Final[Codec[Any]] = Codec(
    lambda periods: [[kind.value, since] for kind, since in periods.items()],
    lambda plain: MappingProxyType({Kind(kind): number_of(since) for kind, since in map(list_of, list_of(plain))}),
)

PROFILE_STATE: Final[Mapping[str, Codec[Any]]] = MappingProxyType(
    {
        "limits": _LIMITS,
        "profile_name": TEXT,
        "expect": several(TEXT),
        "listings": COUNT,
        "began_at": NUMBER_OR_NONE,
        "listed": CLOCKS_OR_NONE,
        "elapsed_ms": NUMBER,
        "newest": TEXT_OR_NONE,
        "clock": record(ServerClock, samples=_SAMPLES),
        "date_error": NUMBER_OR_NONE,
        "interval": SPAN,
        "failure": optional(_FAILED),
        "failures": COUNT,
        "quarantine": optional(_HELD),
        "stall_detector": record(StallDetector, silent_s=NUMBER, is_stalled=FLAG, resumed_at=NUMBER_OR_NONE),
        "snapshot": optional(_SNAPSHOT),
        "unseen_since": CLOCKS_OR_NONE,
        "last_up": CLOCKS_OR_NONE,
        "has_moved_identity": FLAG,
        "periods": _PERIODS,
    }
)
"""The fields of `ProfileState`, all but its profile, its server and its environments."""

_ACK: Final = record(Ack, at=NUMBER, note=TEXT, sign_at=NUMBER_OR_NONE)


def plain_acks(acks: OwnAcks) -> list[Any]:
    """Return acknowledgements in their order."""
    return [[id_, _ACK.plain(ack)] for id_, ack in acks.items()]


def acks_of(plain: object) -> OwnAcks:
    """Return what `plain_acks` wrote."""
    return MappingProxyType({text_of(id_): _ACK.value(ack) for id_, ack in map(list_of, list_of(plain))})
