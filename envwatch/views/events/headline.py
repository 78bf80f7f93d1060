"""Chooses the event for the news line."""

from __future__ import annotations

from itertools import chain, groupby, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from envwatch.alerts.losses import LOSSES, RETURNS, is_loss, key_of
from envwatch.fleet.events import ENDS, NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.replacement import is_replacement
from envwatch.model import limits
from envwatch.model.environment import UNRESTRICTED
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.text import SafeText

_FLEET_WIDE = frozenset({Kind.WHILE_BLIND, Kind.STALLED, Kind.CLOCK_WRONG, Kind.BLIND, Kind.KEY_REFUSED})

_SEVERAL = 2

_FLAPS = frozenset({Kind.OFFLINE, Kind.ONLINE, Kind.RECONNECTED, Kind.RESTARTED})
_poll_of = attrgetter("at", "profile")
_STANDS_MS = limits.HEADLINE_STANDS / MS
_LOSS_STANDS_MS = limits.MARK_DURATION / MS


def headline_event(
    event_log: Sequence[Event],
    now_of: Callable[[Event], float],
    is_told: Callable[[EnvironmentKey], bool] = lambda _: False,
) -> Event | None:
    """Return the event for the news line, or None.

    The newest of the most severe events stands for `limits.HEADLINE_STANDS`, and a loss that nothing else tells for
    `limits.MARK_DURATION`; otherwise the newest listing's event with the most environments is chosen. A loss is over
    when all environments are back or replaced, a period when ended.
    Changes of a flapping row are no news.

    `event_log` is oldest first; `now_of` returns the clock of an event's server, in ms. `is_told` says of a row whether
    the block shows the loss, or a person silenced the row.
    """
    most_severe: Event | None = None
    returned: set[tuple[SafeText, SafeText | None]] = set()
    ended: set[tuple[SafeText, Kind]] = set()
    fresh = takewhile(lambda event: now_of(event) - event.at < _LOSS_STANDS_MS, reversed(event_log))
    polls = (sorted(poll, key=is_replacement, reverse=True) for _, poll in groupby(fresh, _poll_of))
    for event in chain.from_iterable(polls):
        singles = flatten([event])
        returned |= {
            (single.profile, single.id) for single in singles if single.kind in RETURNS or is_replacement(single)
        }
        ended |= {(event.profile, begin) for begin, end in ENDS.items() if end is event.kind}
        is_over = (event.profile, event.kind) in ended
        lost = [single for single in singles if (single.profile, single.id) not in returned]
        is_over = is_over or not lost or _is_flap(event)
        if is_over or not _outranks(event, most_severe):
            continue
        is_present_loss = _is_loss(event) and event.reason != NOT_RUNNING
        is_untold = is_present_loss and not all(is_told(key_of(single)) for single in lost)
        if now_of(event) - event.at < (_LOSS_STANDS_MS if is_untold else _STANDS_MS):
            most_severe = event
    if most_severe is not None:
        return most_severe
    newest_first = (event for event in reversed(event_log) if event.kind is not Kind.NOTICE and not _is_flap(event))
    newest = next(newest_first, None)
    if newest is None:
        return None
    same_listing = takewhile(lambda event: _poll_of(event) == _poll_of(newest), newest_first)
    return max((newest, *same_listing), key=lambda event: (len(event.members), is_replacement(event)))


def _outranks(event: Event, newer: Event | None) -> bool:
    if newer is None:
        return _severity(event) > 0
    is_preferred = _poll_of(event) == _poll_of(newer) and _is_loss(event) and not _is_loss(newer)
    return _severity(event) > _severity(newer) or (is_preferred and _severity(event) == _severity(newer))


def _is_flap(event: Event) -> bool:
    return event.kind in _FLAPS and event.then is not None and event.then.is_flapping


def merged(event: Event, same_poll: Sequence[Event]) -> tuple[Event, int]:
    """Return the event merged with the poll's events of the same kind, and the number of the poll's further changes."""
    replaced = {other.id for other in same_poll if is_replacement(other) and other is not event}
    singles = (other for other in same_poll if not other.members and other.id is not None)
    alike = [other for other in singles if other.kind is event.kind and other.id not in replaced]
    if not event.members and len(alike) >= _SEVERAL:
        event = Event(kind=event.kind, at=event.at, profile=event.profile, after=event.after, members=tuple(alike))
    named = set(map(key_of, flatten([event])))
    others = [other for other in same_poll if other.kind is not Kind.NOTICE and other is not event]
    return event, sum(not named.issuperset(map(key_of, flatten([other]))) for other in others)


def same_environment(event: Event, same_poll: Sequence[Event]) -> list[Event]:
    """Return the poll's other events of the environment."""
    others = (other for other in same_poll if other is not event and not other.members)
    return [other for other in others if event.id is not None and other.id == event.id]


def returned_since(loss: Event, event_log: Sequence[Event]) -> int:
    """Return how many environments of a loss are back."""
    is_back: dict[SafeText | None, bool] = {}
    for event in reversed(event_log):
        if event.profile != loss.profile:
            continue
        if event.at <= loss.at:
            break
        for single in flatten([event]):
            if single.kind in LOSSES | RETURNS:
                is_back.setdefault(single.id, single.kind in RETURNS)
    return sum(is_back.get(single.id, False) for single in flatten([loss]) if single.kind in LOSSES)


def _severity(event: Event) -> int:
    """Return 2 for losses and fleet-wide events, 1 for changes to unrestricted, otherwise 0.

    Changes since the last run, and losses of rows that were down already, have 1: a present loss comes first.
    """
    if event.kind is Kind.WHILE_BLIND and event.reason == NOT_RUNNING:
        return 1
    is_drift = event.kind is Kind.MODE and event.after == UNRESTRICTED
    if event.kind in _FLEET_WIDE or _is_loss(event):
        return 2
    return int(is_drift or event.kind in LOSSES or event.of in LOSSES)


def _is_loss(event: Event) -> bool:
    return any(map(is_loss, flatten([event])))
