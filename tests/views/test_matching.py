"""Queries of the alert policy and of silences, as tests."""

from __future__ import annotations

import pytest
from support.builders import NOW
from support.tracked_environments import tracked

from envwatch.fleet.events import EnvironmentState, Event, Kind
from envwatch.model.text import clean
from envwatch.query.lexer import QueryError
from envwatch.views.events.matching import event_test, matcher_of, matcher_or_none


def test_an_age_is_that_of_the_moment() -> None:
    matcher, one = matcher_of("beat:>90s"), tracked(lastHeartbeat=NOW)
    assert [matcher.matches(one, NOW + ms) for ms in (90_000, 90_001, 90_000)] == [False, True, False]


def test_words_are_looked_for_in_every_column() -> None:
    assert matcher_of("pod-1").matches(tracked(), NOW)
    assert not matcher_of("pod-2").matches(tracked(), NOW)


def test_rows_without_a_profile_are_of_the_only_one() -> None:
    assert matcher_of("profile:work", clean("work")).matches(tracked(), NOW)
    assert not matcher_of("profile:work", clean("home")).matches(tracked(), NOW)
    assert (matcher := matcher_or_none("profile:work", clean("work"))) is not None
    assert matcher.matches(tracked(), NOW)


def test_an_event_without_a_profile_is_of_the_only_one() -> None:
    one = tracked()
    event = Event(kind=Kind.MODE, at=NOW, id=one.environment.id, then=EnvironmentState(one.environment, one.verdict))
    assert [event_test("profile:work", clean(name))(event) for name in ("work", "home")] == [True, False]


def test_no_query_matches_everything_and_equal_queries_are_equal() -> None:
    assert matcher_of("  ").matches(tracked(), NOW)
    assert matcher_of("a   b") == matcher_of("a b") != matcher_of("a c")


def test_a_mistake_is_an_error_or_none() -> None:
    with pytest.raises(QueryError):
        matcher_of("beat:soon")
    assert matcher_or_none("beat:soon") is None
