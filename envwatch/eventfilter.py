"""Which events a query asks for: its words in what the log says, its terms in the environments as they were then.

Pure. Knows nothing of the log that shows them. What a query means is `query`'s business, what the log says that of
`sentences`.

A term asks for what the environment was at the event, whatever became of it since: `pod:p-7` finds what was lost in
that pod though it runs in another by now. States are those that the event led to, so `status:off` finds each fall and
no return; `status:changed` finds what came, went or reconnected. Ages are those at the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.acknowledged import NO_ACKS
from envwatch.events import Event, Kind
from envwatch.sentences import event_text
from envwatch.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from envwatch.acknowledged import Acks
    from envwatch.query.language import Query

_SHIFTS = frozenset(
    {Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED, Kind.RECONNECTED, Kind.RESTARTED}
)
"""What marks a row as changed."""


def logged(history: Sequence[Event], query: Query, zone: tzinfo | None = None, acks: Acks = NO_ACKS) -> list[Event]:
    """Return the events that a query asks for, in their order.

    A group is kept whole if any of its members is asked for. Words look into what is said of a member and of the groups
    around it: what a negated word hides must be in none of the lines that would be shown. An event without an
    environment has nothing that a term could ask for: it fails every term but a negated one.

    Args:
        history: events, groups among them.
        query: what is asked for.
        zone: in which the log shows instants; None for the local one.
        acks: problems that are acknowledged.
    """
    if not query:
        return list(history)
    has_demands = query.has_demands

    def has_terms(event: Event) -> bool:
        watch = _watch_then(event)
        if watch is None:
            return not has_demands
        return query.has_terms(watch, event.at, watch.changed_in, acks)

    def is_asked_for(event: Event, around: str = "") -> bool:
        said = f"{around}{_lines(event, zone)}\n"
        if event.members:
            return any(is_asked_for(member, said) for member in event.members)
        return has_terms(event) and query.has_words(said)

    return [event for event in history if is_asked_for(event)]


def _watch_then(event: Event) -> Watch | None:
    """Return what was known of an event's environment, as far as terms can ask for it."""
    if event.then is None:
        return None
    environment, verdict, is_flapping, is_doubted = event.then
    return Watch(
        environment=environment,
        verdict=verdict,
        profile=event.profile,
        changed_in=int(event.kind in _SHIFTS),
        is_flapping=is_flapping,
        is_doubted=is_doubted,
    )


def _lines(event: Event, zone: tzinfo | None) -> str:
    """Return what the log says of an event, one part a line, so that a wildcard matches a whole part."""
    return f"{event.name or ''}\n{event_text(event, zone)}\n{event.kind.value}\n{event.profile}"
