"""Filters the event log by a query: words match the text of an event, terms the environment as it was then.

Pure. Must not know the widget of the log. The language belongs to `query`, the wording to `event_text`.

A term matches the environment at the time of the event: `pod:p-7` finds an environment that was lost in that pod even
if it runs in another one now. States are those that the event led to, so `status:off` finds losses and no returns;
`status:changed` finds what marks a row of the table. Ages are those at the event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.recent_changes import ChangeTag, RecentChange
from envwatch.fleet.replacement import is_replacement
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.query.field_types import MatchContext
from envwatch.query.lexer import normalize
from envwatch.views.events.event_text import event_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import tzinfo

    from envwatch.model.text import SafeText
    from envwatch.query.language import Query

_TAGS: Final = {
    Kind.APPEARED: ChangeTag.JOINED,
    Kind.ONLINE: ChangeTag.BACK,
    Kind.RETURNED: ChangeTag.BACK,
    Kind.OFFLINE: ChangeTag.NEW,
    Kind.GONE: ChangeTag.NEW,
    Kind.MISSING: ChangeTag.NEW,
    Kind.RECONNECTED: ChangeTag.CONNECTION,
    Kind.RESTARTED: ChangeTag.CONNECTION,
    Kind.MODE: ChangeTag.MODE,
    Kind.VERSION: ChangeTag.VERSION,
}
"""The kinds of events that mark a row of the table, with their mark."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Tests events by a query.

    A group matches if any of its members does. Words are looked for in the text of a member and of the groups around
    it, so a negated word hides a member if any of those lines contains it. An event without an environment matches
    negated terms only.
    """

    query: Query
    zone: tzinfo | None = None
    """In which the log shows instants."""
    is_acked: Callable[[TrackedEnvironment], bool] = lambda _: False
    profile_name: SafeText = NO_PROFILE
    """The profile's name where only one is watched."""
    texts: dict[int, str] = field(default_factory=dict)
    """Searchable texts by the `id` of their event, for callers that keep them from query to query; each is valid as
    long as its event exists and the zone is the same."""

    def results(self, event: Event, *groups: Event) -> Iterator[bool]:
        """Yield whether an event matches, for a group whether each of its members does; `groups` are around it."""
        if event.members:
            for member in event.members:
                yield from self.results(member, *groups, event)
        else:
            yield self._has_terms(event) and self.query.has_words(self._searchable_text(event, groups))

    def _has_terms(self, event: Event) -> bool:
        tracked = tracked_then(event)
        if tracked is None:
            return not self.query.demands()
        return self.query.has_terms(tracked, MatchContext(event.at, self.is_acked, self.profile_name))

    def _searchable_text(self, event: Event, groups: Iterable[Event]) -> str:
        """Return the text of an event in its groups, one part a line, because a wildcard must match a whole line."""
        text = self.texts.get(id(event))
        if text is None:
            parts = (
                (each.name or "", event_text(each, self.zone), each.kind.value, each.profile)
                for each in (*groups, event)
            )
            text = self.texts[id(event)] = normalize("\n".join(chain.from_iterable(parts)))
        return text


def tracked_then(event: Event) -> TrackedEnvironment | None:
    """Return an event's environment as it was, with what terms can look at; None without one."""
    if event.then is None:
        return None
    environment, verdict, is_flapping, clock_suspect, left_pod_id = event.then
    tag = ChangeTag.MOVED if is_replacement(event) else _TAGS.get(event.kind)
    return TrackedEnvironment(
        environment=environment,
        verdict=verdict,
        profile=event.profile,
        last_change=RecentChange(tag, event.at) if tag is not None else None,
        is_flapping=is_flapping,
        clock_suspect=clock_suspect,
        left_pod_id=left_pod_id,
    )
