"""Filters the event log by a query: words match the text of an event, terms the environment as it was then.

Pure. Must not know the widget of the log. The language belongs to `query`, the wording to `event_text`.

A term matches the environment at the time of the event: `pod:p-7` finds an environment that was lost in that pod even
if it runs in another one now. States are those that the event led to, so `status:off` finds losses and no returns;
`status:changed` finds arrivals, losses and reconnects. Ages are those at the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.query.field_types import MatchContext
from envwatch.views.event_text import event_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.query.language import Query

_MARKED_KINDS = frozenset(
    {Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED, Kind.RECONNECTED, Kind.RESTARTED}
)
"""The kinds that mark a row of the table as changed."""


def logged(event_log: Sequence[Event], query: Query, zone: tzinfo | None = None, acks: Acks = NO_ACKS) -> list[Event]:
    """Return the events that match a query, in their order.

    A group is kept whole if any of its members matches. Words are looked for in the text of a member and of the groups
    around it, so a negated word hides a member if any of those lines contains it. An event without an environment
    matches negated terms only.

    Args:
        event_log: events, groups among them.
        query: what to look for.
        zone: in which the log shows instants; None for the local one.
        acks: the acknowledged problems.
    """
    if not query:
        return list(event_log)
    has_demands = query.demands()

    def has_terms(event: Event) -> bool:
        tracked = _tracked_then(event)
        if tracked is None:
            return not has_demands
        return query.has_terms(tracked, MatchContext(event.at, tracked.changed_in, acks))

    def matches(event: Event, group_text: str = "") -> bool:
        text = f"{group_text}{_searchable_text(event, zone)}\n"
        if event.members:
            return any(matches(member, text) for member in event.members)
        return has_terms(event) and query.has_words(text)

    return [event for event in event_log if matches(event)]


def _tracked_then(event: Event) -> TrackedEnvironment | None:
    """Return an event's environment as it was, with what terms can look at; None without one."""
    if event.then is None:
        return None
    environment, verdict, is_flapping, clock_suspect = event.then
    return TrackedEnvironment(
        environment=environment,
        verdict=verdict,
        profile=event.profile,
        changed_in=int(event.kind in _MARKED_KINDS),
        is_flapping=is_flapping,
        clock_suspect=clock_suspect,
    )


def _searchable_text(event: Event, zone: tzinfo | None) -> str:
    """Return the text of an event, one part a line, because a wildcard must match a whole line."""
    return f"{event.name or ''}\n{event_text(event, zone)}\n{event.kind.value}\n{event.profile}"
