"""Queries as tests of environments, of events, and of a fleet for `wait`.

Terms match the environment as recorded at an event: `pod:p-7` finds losses in a pod left since, and `status:off` finds
losses but no returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.replacement import is_replacement
from envwatch.fleet.tracking import EVERYTHING, ChangeTag, Matcher, RecentChange, TrackedEnvironment
from envwatch.model.text import SafeText, composed
from envwatch.query.language import Query, SearchCache, parse
from envwatch.query.lexer import QueryError, normalize
from envwatch.query.presentation import TIMELESS, MatchContext
from envwatch.views.events.event_text import event_text
from envwatch.views.table.columns import SEARCHED
from envwatch.views.table.table_view import in_default_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import tzinfo

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks


_TAGS: Final = {
    Kind.APPEARED: ChangeTag.JOINED,
    Kind.ONLINE: ChangeTag.BACK,
    Kind.RETURNED: ChangeTag.BACK,
    Kind.OFFLINE: ChangeTag.NEW,
    Kind.GONE: ChangeTag.NEW,
    Kind.NOT_BACK: ChangeTag.NEW,
    Kind.RECONNECTED: ChangeTag.CONNECTION,
    Kind.RESTARTED: ChangeTag.CONNECTION,
    Kind.MODE: ChangeTag.MODE,
    Kind.VERSION: ChangeTag.VERSION,
}


def compile_matcher(text: str, profile: SafeText = NO_PROFILE, context: MatchContext = TIMELESS) -> Matcher:
    """Return a query as a test; without a context, no row is acknowledged or silenced.

    Raises:
        QueryError: for the first mistake.
    """
    query, cache = parse(text), SearchCache()
    if not query:
        return EVERYTHING

    @lru_cache(maxsize=4)
    def test_at(now: float) -> Callable[[TrackedEnvironment], bool]:
        return query.test(context._replace(at=now, profile=profile), SEARCHED, cache)

    return Matcher(composed(str(query)), lambda tracked, now: test_at(now)(tracked))


def matcher_or_none(text: str, profile: SafeText = NO_PROFILE) -> Matcher | None:
    """Return a query as a test, or None for a wrong query."""
    try:
        return compile_matcher(text, profile)
    except QueryError:
        return None


def tracked_then(event: Event) -> TrackedEnvironment | None:
    """Return an event's environment as recorded at the event, or None."""
    if event.then is None:
        return None
    tag = ChangeTag.MOVED if is_replacement(event) else _TAGS.get(event.kind)
    change = None if tag is None else RecentChange(tag, event.at)
    return TrackedEnvironment(*event.then.parts, profile=event.profile, last_change=change)


def event_test(text: str, profile: SafeText = NO_PROFILE) -> Callable[[Event], bool]:
    """Return a query as a test of events.

    Raises:
        QueryError: for the first mistake.
    """
    matcher = compile_matcher(text, profile)

    def matches(event: Event) -> bool:
        tracked = tracked_then(event)
        return tracked is not None and matcher.matches(tracked, event.at)

    return matches


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Tests events by a query.

    A group matches if any member matches. A member's text includes the texts of the groups around, so a negated word
    there hides the member. An event without an environment matches only negated terms.
    """

    query: Query
    zone: tzinfo | None = None
    context: MatchContext = TIMELESS
    """The present marks of rows; each event brings its own time."""
    texts: dict[int, str] = field(default_factory=dict)
    """A cache by the event's `id()`, valid for a single zone while the event exists."""

    def results(self, event: Event, *groups: Event) -> Iterator[bool]:
        """Yield whether an event within `groups`, or each member of a group, matches."""
        if event.members:
            for member in event.members:
                yield from self.results(member, *groups, event)
        else:
            yield self._has_terms(event) and self.query.has_words(self._searchable_text(event, groups))

    def _has_terms(self, event: Event) -> bool:
        tracked = tracked_then(event)
        if tracked is None:
            return not self.query.demands()
        return self.query.has_terms(tracked, self.context._replace(at=event.at))

    def _searchable_text(self, event: Event, groups: Iterable[Event]) -> str:
        """Return a line for each part: a wildcard must match a whole line."""
        text = self.texts.get(id(event))
        if text is None:
            parts = (
                (each.name or "", event_text(each, self.zone), each.kind.value, each.profile)
                for each in (*groups, event)
            )
            text = self.texts[id(event)] = normalize("\n".join(chain.from_iterable(parts)))
        return text


class WaitProgress(NamedTuple):
    """The progress of a wait condition."""

    matching: Sequence[TrackedEnvironment]
    is_met: bool
    is_proven: bool
    """Whether every profile is listed, and neither blind, quarantined nor stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitCondition:
    """The condition of `wait`.

    Only a complete, believed listing proves anything.
    """

    query: Query
    count: int = 1
    is_absence: bool = False
    """Whether no environment may match."""
    profile_name: SafeText = NO_PROFILE

    def progress(self, monitor: Monitor, now: Clocks) -> WaitProgress:
        """Return the progress after a listing.

        Only a query with states finds gone or missing environments. An environment that cannot be judged neither
        matches nor proves absence.
        """
        fleet, judge = monitor.fleet, monitor.judge(now)
        matching = in_default_order(
            tracked for profile_state in fleet for tracked in self._matching(profile_state, monitor, now)
        )
        known = [tracked for tracked in matching if not fleet.for_environment(tracked).is_unknown(tracked, now)]
        is_proven = all(
            judge.sees(profile) and profile_state.listed is not None and not profile_state.stall_detector.is_stalled
            for profile, profile_state in fleet.by_profile.items()
        )
        is_met = not matching if self.is_absence else len(known) >= self.count
        return WaitProgress(matching if self.is_absence else known, is_met and is_proven, is_proven)

    def _matching(self, profile_state: ProfileState, monitor: Monitor, now: Clocks) -> Iterator[TrackedEnvironment]:
        if (at := profile_state.listed_at) is None:
            return
        context = MatchContext(at, monitor.judge(now), self.profile_name)
        matches = self.query.test(context, SEARCHED)
        has_states = self.query.demands("status")
        for tracked in profile_state.environments.values():
            if (has_states or not tracked.verdict.is_absent) and matches(tracked):
                yield tracked
