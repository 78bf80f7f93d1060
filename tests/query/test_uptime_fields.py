"""The filter fields of the uptime: `permanent` and `up7d`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.tracked_environments import matches, tracked

from envwatch.fleet.uptime import Uptime
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError

LONG = 600.0 * 3_600_000


def up(share: float | None) -> Uptime:
    return Uptime() if share is None else Uptime(up=share * LONG, watched=LONG)


@pytest.mark.parametrize(
    ("value", "share", "is_found"),
    [
        ("<90", 0.8999, True),
        ("<90", 0.9, False),
        ("<90", 0.899_999_99, True),
        ("<90", 0.899_999_996, False),  # an error of the share, below the digits that a person can type
        ("<=90", 0.9, True),
        ("<=90", 0.9001, False),
        (">90", 0.9, False),
        (">90", 0.9001, True),
        (">=99.5", 0.9949, False),
        (">=99.5", 0.995, True),
        ("90", 0.8999, False),
        ("90%", 0.9, True),
        ("90", 0.9099, True),
        ("90", 0.91, False),
        ("99.5", 0.9949, False),
        ("99.5", 0.9999, True),
        ("99.5", 1.0, False),
        ("50..90", 0.4999, False),
        ("50..90", 0.5, True),
        ("50..90", 0.9, True),
        ("50..90", 0.9001, False),
        ("100", 1.0, True),
        ("0", 0.0, True),
        ("<90", None, False),
        ("none", None, True),
        ("none", 0.0, False),
    ],
)
def test_the_share_is_compared_in_percent(value: str, share: float | None, *, is_found: bool) -> None:
    assert matches(parse(f"up7d:{value}"), replace(tracked(), uptime=up(share))) is is_found


@pytest.mark.parametrize("value", ["101", "-1", "ninety", "<", "9e1", "0.1234567", "90..80", "50..>90"])
def test_a_wrong_percentage_is_a_mistake(value: str) -> None:
    with pytest.raises(QueryError):
        parse(f"up7d:{value}")


@pytest.mark.parametrize(
    ("query", "share", "is_found"),
    [
        ("permanent:yes", 0.9, True),
        ("permanent:yes", 0.8999, False),
        ("permanent:no", 0.9, False),
        ("permanent:NO", 0.8999, True),
        ("!permanent:=yes", 0.8999, True),
        ("permanent:yes,no", 0.5, True),
        ("permanent:yes !name:laptop*", 0.9, False),
    ],
)
def test_permanent_is_yes_or_no(query: str, share: float, *, is_found: bool) -> None:
    assert matches(parse(query), replace(tracked(), uptime=up(share))) is is_found


@pytest.mark.parametrize("value", ["maybe", "none", ">yes", "y"])
def test_any_other_word_for_permanent_is_a_mistake(value: str) -> None:
    with pytest.raises(QueryError, match="write permanent:yes or permanent:no"):
        parse(f"permanent:{value}")


@pytest.mark.parametrize("query", ["up7d:<90", "up7d:90", "up7d:50..99.5", "permanent:yes", "!permanent:no,yes"])
def test_the_canonical_spelling_is_the_query(query: str) -> None:
    assert str(parse(query)) == query
    assert parse(str(parse(query))) == parse(query)
