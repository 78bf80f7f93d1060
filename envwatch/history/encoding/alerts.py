"""Encoding of a moment's alerts as changes since another moment.

Rows with equal values form a group of places, so a uniform fleet takes few bytes.
"""

from __future__ import annotations

from datetime import timedelta, timezone
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from envwatch.alerts.alert_policy import WORD, Decision, Rule
from envwatch.alerts.incident import Incident
from envwatch.alerts.losses import Loss, key_of
from envwatch.alerts.recurring_hours import DAY_MINUTES, DAYS, RecurringHours
from envwatch.alerts.silences import Silence
from envwatch.fleet.uptime import Uptime, rounded_parts, uptime_of
from envwatch.history.encoding.differences import reordered, runs_between
from envwatch.history.encoding.events import event_codec
from envwatch.history.past import RecordedAlerts, query_only
from envwatch.model.text import EMPTY
from envwatch.stored.codecs import (
    COUNT,
    FLAG,
    Codec,
    build_codecs,
    list_of,
    optional,
    record,
    several,
    text_of,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.history.past import Moment
    from envwatch.model.text import SafeText

T = TypeVar("T")

_MINUTE: Final = timedelta(minutes=1)
_SHARE_PARTS: Final = 10_000


def _at_most(most: int) -> Codec[int]:
    def value(plain: object) -> int:
        number = COUNT.value(plain)
        if not 0 <= number <= most:
            raise ValueError("a number out of range")
        return number

    return Codec(COUNT.plain, value)


_SHARE: Final = optional(_at_most(_SHARE_PARTS))
_HOURS_WATCHED: Final = _at_most(7 * 24)
_MINUTES: Final = _at_most(DAY_MINUTES)
_DAY: Final = _at_most(len(DAYS) - 1)

_DECISION: Final = record(Decision, counts=FLAG, rule=word(Rule), word=optional(WORD))


def _uptime_of(share: object, hours: object, is_first: object) -> Uptime:
    return uptime_of(_SHARE.value(share), _HOURS_WATCHED.value(hours), FLAG.value(is_first))


_UPTIME: Final = optional(Codec(lambda uptime: [*rounded_parts(uptime)], lambda plain: _uptime_of(*list_of(plain))))

_HOURS: Final = record(
    partial(RecurringHours, filter=""),
    days=Codec(sorted, lambda plain: frozenset(map(_DAY.value, list_of(plain)))),
    begin=_MINUTES,
    end=_MINUTES,
)
_ZONE: Final = Codec(
    lambda zone: round((zone.utcoffset(None) or timedelta()) / _MINUTE),
    lambda plain: timezone(COUNT.value(plain) * _MINUTE),
)
_SILENCE: Final = record(
    partial(Silence, environments=frozenset()),
    matcher=optional(Codec(lambda matcher: matcher.query, lambda plain: query_only(text_of(plain)))),
    hours=optional(_HOURS),
    zone=optional(_ZONE),
    **build_codecs(Silence, "environments", "matcher", "hours", "zone"),
)


@lru_cache(maxsize=64)
def _loss_codec(profile: SafeText) -> Codec[Loss]:
    return record(Loss, event=event_codec(profile), **build_codecs(Loss, "event"))


@lru_cache(maxsize=64)
def _incident_codec(profile: SafeText) -> Codec[Incident]:
    return record(
        partial(Incident, profile=profile, remaining=frozenset()),
        losses=several(event_codec(profile)),
        **build_codecs(Incident, "profile", "losses", "remaining"),
    )


def plain_alerts(before: RecordedAlerts, after: RecordedAlerts, moment: Moment) -> dict[str, Any]:
    """Return the changes since earlier alerts; `moment` belongs to `after`."""
    profile = moment.profile_state.profile
    places = {id_: place for place, id_ in enumerate(moment.profile_state.environments)}
    groups = {
        "decisions": _groups(before.decisions, after.decisions, places, _DECISION),
        "uptimes": _groups(before.uptimes, after.uptimes, places, _UPTIME),
    }
    plain: dict[str, Any] = {name: group for name, group in groups.items() if group}
    if before.silences != after.silences:
        plain["silences"] = [
            [_SILENCE.plain(each), gaps_between(sorted(places[id_] for _, id_ in each.environments if id_ in places))]
            for each in after.silences
        ]
    if before.waiting != after.waiting:
        plain["waiting"] = _plain_items(before.waiting, after.waiting, _loss_codec(profile))
    if before.open != after.open:
        known, opened = _without_remaining(before.open), _without_remaining(after.open)
        plain["open"] = _plain_items(known, opened, _incident_codec(profile))
        plain["back"] = [
            gaps_between([place for place, loss in enumerate(each.losses) if key_of(loss) not in each.remaining])
            for each in after.open
        ]
    return plain


def changed_alerts(
    before: RecordedAlerts, plain: Mapping[str, Any], id_at: Callable[[int], SafeText], profile: SafeText
) -> RecordedAlerts:
    """Return the alerts from `plain_alerts`; `id_at` maps a place to the row's id."""
    changed: dict[str, Any] = {}
    if "decisions" in plain:
        changed["decisions"] = {**before.decisions, **_values(plain["decisions"], id_at, _DECISION)}
    if "uptimes" in plain:
        changed["uptimes"] = {**before.uptimes, **_values(plain["uptimes"], id_at, _UPTIME)}
    if "silences" in plain:
        changed["silences"] = tuple(
            _SILENCE.value(silence)._replace(environments=frozenset((EMPTY, id_) for id_ in map(id_at, _places(gaps))))
            for silence, gaps in map(list_of, list_of(plain["silences"]))
        )
    if "waiting" in plain:
        changed["waiting"] = tuple(_items(before.waiting, plain["waiting"], _loss_codec(profile)))
    if "open" in plain:
        opened = _items(_without_remaining(before.open), plain["open"], _incident_codec(profile))
        if not all(each.losses for each in opened):
            raise ValueError("an incident without a loss")
        changed["open"] = tuple(
            each._replace(remaining=each.keys - {key_of(each.losses[place]) for place in _places(gaps)})
            for each, gaps in zip(opened, list_of(plain["back"]), strict=True)
        )
    return before._replace(**changed)


def alerts_of_rows(alerts: RecordedAlerts, ids: Iterable[SafeText]) -> RecordedAlerts:
    """Return the alerts of some rows."""
    decisions, uptimes = alerts.decisions, alerts.uptimes
    return alerts._replace(
        decisions={id_: decision for id_ in ids if (decision := decisions.get(id_)) is not None},
        uptimes={id_: uptime for id_ in ids if (uptime := uptimes.get(id_)) is not None},
    )


def _groups(
    before: Mapping[SafeText, T], after: Mapping[SafeText, T], places: Mapping[SafeText, int], codec: Codec[Any]
) -> list[Any]:
    groups: dict[T | None, list[int]] = {}
    for id_, place in places.items():
        value, known = after.get(id_), before.get(id_)
        if value is not known and value != known:
            groups.setdefault(value, []).append(place)
    return [[codec.plain(value), gaps_between(group)] for value, group in groups.items()]


def _values(groups: object, id_at: Callable[[int], SafeText], codec: Codec[T]) -> dict[SafeText, T]:
    return {
        id_: value
        for plain, gaps in map(list_of, list_of(groups))
        for value in (codec.value(plain),)
        for id_ in map(id_at, _places(gaps))
    }


def gaps_between(places: Sequence[int]) -> list[int]:
    """Return the first place, and the gap before each further place."""
    return [place - last for last, place in pairwise([0, *places])]


def _places(gaps: object) -> list[int]:
    places = list(accumulate(map(COUNT.value, list_of(gaps))))
    if min(places, default=0) < 0:
        raise ValueError("no place")
    return places


def _without_remaining(incidents: Iterable[Incident]) -> list[Incident]:
    return [each._replace(remaining=frozenset()) for each in incidents]


def _plain_items(before: Sequence[T], after: Sequence[T], codec: Codec[T]) -> list[Any]:
    known = set(before)
    return [runs_between(before, after), [codec.plain(each) for each in after if each not in known]]


def _items(before: Sequence[T], plain: object, codec: Codec[T]) -> list[T]:
    runs, new = list_of(plain)
    return reordered(before, list_of(runs), [codec.value(each) for each in list_of(new)])
