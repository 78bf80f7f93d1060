"""Which events a query asks for: its words in what the log says, its terms in the environments as they were then.

Pure. Knows nothing of the log that shows them. What a query means is `query`'s business, what the log says that of
`sentences`.

A term asks for what the environment was at the event, whatever became of it since: `pod:p-7` finds what was lost in
that pod though it runs in another by now. States are those that the event led to, so `status:off` finds each fall and
no return; `status:changed` finds what came, went or reconnected. Ages are those at the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.views.event_text import event_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.query.language import Query

_SHIFTS = frozenset(
    {Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED, Kind.RECONNECTED, Kind.RESTARTED}
)
"""What marks a row as changed."""


def logged(event_log: Sequence[Event], query: Query, zone: tzinfo | None = None, acks: Acks = NO_ACKS) -> list[Event]:
    """Return the events that a query asks for, in their order.

    A group is kept whole if any of its members is asked for. Words look into what is said of a member and of the groups
    around it: what a negated word hides must be in none of the lines that would be shown. An event without an
    environment has nothing that a term could ask for: it fails every term but a negated one.

    Args:
        event_log: events, groups among them.
        query: what is asked for.
        zone: in which the log shows instants; None for the local one.
        acks: problems that are acknowledged.
    """
    if not query:
        return list(event_log)
    has_demands = query.has_demands

    def has_terms(event: Event) -> bool:
        tracked = _tracked_then(event)
        if tracked is None:
            return not has_demands
        return query.has_terms(tracked, event.at, tracked.changed_in, acks)

    def is_asked_for(event: Event, around: str = "") -> bool:
        said = f"{around}{_lines(event, zone)}\n"
        if event.members:
            return any(is_asked_for(member, said) for member in event.members)
        return has_terms(event) and query.has_words(said)

    return [event for event in event_log if is_asked_for(event)]


def _tracked_then(event: Event) -> TrackedEnvironment | None:
    """Return what was known of an event's environment, as far as terms can ask for it."""
    if event.then is None:
        return None
    environment, verdict, is_flapping, clock_suspect = event.then
    return TrackedEnvironment(
        environment=environment,
        verdict=verdict,
        profile=event.profile,
        changed_in=int(event.kind in _SHIFTS),
        is_flapping=is_flapping,
        clock_suspect=clock_suspect,
    )


def _lines(event: Event, zone: tzinfo | None) -> str:
    """Return what the log says of an event, one part a line, so that a wildcard matches a whole part."""
    return f"{event.name or ''}\n{event_text(event, zone)}\n{event.kind.value}\n{event.profile}"
