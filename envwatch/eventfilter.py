"""Which events a query asks for: its words in what the log says, its terms in the environments as they are now.

Pure. Knows nothing of the log that shows them. What a query means is `query`'s business, what the log says that of
`sentences`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.sentences import event_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

    from envwatch.events import Event
    from envwatch.fleets import Fleets
    from envwatch.query.language import Query


def logged(
    history: Sequence[Event], query: Query, fleets: Fleets, wall: float, zone: tzinfo | None = None
) -> list[Event]:
    """Return the events that a query asks for, in their order.

    A group is kept whole if any of its members is asked for. Words look into what is said of a member and of the groups
    around it: what a negated word hides must be in none of the lines that would be shown. An event without an
    environment, or of one that is no longer known, has nothing that a term could ask for: it fails every term but a
    negated one.

    Args:
        history: events, groups among them.
        query: what is asked for.
        fleets: all that is known.
        wall: the moment by this machine's clock, in ms.
        zone: in which the log shows instants; None for the local one.
    """
    if not query:
        return list(history)
    has_terms = _terms_test(query, fleets, wall)

    def is_asked_for(event: Event, around: str = "") -> bool:
        said = f"{around}{_lines(event, zone)}\n"
        if event.members:
            return any(is_asked_for(member, said) for member in event.members)
        return has_terms(event) and query.has_words(said)

    return [event for event in history if is_asked_for(event)]


def _terms_test(query: Query, fleets: Fleets, wall: float) -> Callable[[Event], bool]:
    has_demands = query.has_demands
    moments = {profile: (fleet.clock.at(wall), fleet.listings) for profile, fleet in fleets.by_profile.items()}

    def has_terms(event: Event) -> bool:
        watch = None if event.id is None else fleets.watch((event.profile, event.id))
        if watch is None:
            return not has_demands
        return query.has_terms(watch, *moments[watch.profile])

    return has_terms


def _lines(event: Event, zone: tzinfo | None) -> str:
    """Return what the log says of an event, one part a line, so that a wildcard matches a whole part."""
    return f"{event.name or ''}\n{event_text(event, zone)}\n{event.kind.value}\n{event.profile}"
