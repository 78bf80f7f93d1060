"""Queries of the alert policy, of silences and of hooks as tests of environments.

Pure. Words are looked for in every column, whatever the screen shows, as in `list`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from envwatch.fleet.alerting.alert_policy import EVERYTHING, Matcher
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import SafeText, composed
from envwatch.query.field_types import MatchContext
from envwatch.query.language import SearchCache, parse
from envwatch.query.lexer import QueryError
from envwatch.views.events.event_filter import tracked_then
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import TrackedEnvironment


def matcher_of(text: str, profile: SafeText = NO_PROFILE) -> Matcher:
    """Return a query as a test; `profile` is the name where only one is watched, see `MatchContext`.

    Raises:
        QueryError: for the first mistake.
    """
    query, columns, cache = parse(text), tuple(COLUMNS.values()), SearchCache()
    if not query:
        return EVERYTHING

    @lru_cache(maxsize=4)
    def test_at(now: float) -> Callable[[TrackedEnvironment], bool]:
        """Return the test of a moment, made once for all rows of a profile."""
        return query.test(MatchContext(now, profile=profile), columns, cache)

    return Matcher(composed(str(query)), lambda tracked, now: test_at(now)(tracked))


def matcher_or_none(text: str, profile: SafeText = NO_PROFILE) -> Matcher | None:
    """Return a query as a test, see `matcher_of`; None if it cannot be parsed."""
    try:
        return matcher_of(text, profile)
    except QueryError:
        return None


def event_test(text: str, profile: SafeText = NO_PROFILE) -> Callable[[Event], bool]:
    """Return a query as a test of events, see `matcher_of`: whether it finds the environment as it was then.

    Raises:
        QueryError: for the first mistake.
    """
    matcher = matcher_of(text, profile)

    def matches(event: Event) -> bool:
        tracked = tracked_then(event)
        return tracked is not None and matcher.matches(tracked, event.at)

    return matches
