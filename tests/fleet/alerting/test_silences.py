"""Silences: scope, duration and format."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of
from support.hostile_fleet import WEAPONS
from support.tracked_environments import named

from envwatch.fleet.alerting.acknowledgements import LONGEST_NOTE
from envwatch.fleet.alerting.alert_policy import (
    Matcher,
    Silence,
    content_of,
    silence_of_environments,
    silence_of_query,
    silences_of,
    silencing,
)
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, clean

A, B = named("a"), named("b")
HOUR, AT, NOTE, BY = timedelta(hours=1), WallMs(NOW), clean("new disks"), clean("ada")
ONLY_A = Matcher(clean("name:a"), lambda tracked, _: tracked.environment.name == "a")
OLD = Matcher(clean("beat:>1m"), lambda _, now: now >= NOW + 60_000)


def matcher_of(query: str) -> Matcher | None:
    return {"name:a": ONLY_A, "beat:>1m": OLD}.get(query)


def of_query(matcher: Matcher = ONLY_A, lasts: timedelta = HOUR, at: WallMs = AT) -> Silence:
    return silence_of_query(matcher, at, lasts, NOTE, BY)


def of_environments(*ids: str, lasts: timedelta = HOUR, at: WallMs = AT) -> Silence:
    return silence_of_environments(map(key_of, ids), at, lasts, NOTE, BY)


@pytest.mark.parametrize("silence", [of_query(), of_environments("env-a")], ids=["query", "environments"])
def test_a_silence_is_of_what_it_finds_or_names_and_of_nothing_else(silence: Silence) -> None:
    assert (silence.at, silence.until - silence.at, silence.note, silence.by) == (AT, 3_600_000, NOTE, BY)
    assert silence.covers(A, EMPTY, NOW)
    assert not silence.covers(B, EMPTY, NOW)


def test_a_query_is_asked_by_the_clock_of_the_server_and_the_end_by_that_of_this_machine() -> None:
    silences = {"1": of_query(OLD)}
    assert silencing(silences, A, EMPTY, NOW, NOW + 59_999) is None  # type: ignore[arg-type]
    assert silencing(silences, A, EMPTY, NOW, NOW + 60_000) == silences["1"]  # type: ignore[arg-type]
    assert silencing(silences, A, EMPTY, NOW + 3_600_000, NOW + 60_000) is None  # type: ignore[arg-type]


def test_of_several_silences_the_one_counts_that_ends_last_of_those_that_hold() -> None:
    short, long = of_query(), of_environments("env-a", lasts=2 * HOUR)
    later, other = of_query(lasts=3 * HOUR, at=WallMs(NOW + 300_001)), of_environments("env-b", lasts=9 * HOUR)
    silences = {each.id: each for each in (short, long, later, other)}
    assert len(silences) == 4
    found = [silencing(silences, A, EMPTY, NOW + hours * 3_600_000, NOW) for hours in (0, 1, 2, 4)]
    assert found == [long, later, later, None]


def test_a_silence_is_known_by_what_it_is_of_and_when() -> None:
    assert of_environments("b", "a") == of_environments("a", "b", "a")
    different = [
        of_environments("a"),
        of_environments("a", "b"),
        of_environments("a", lasts=2 * HOUR),
        of_environments("a", at=WallMs(NOW + 1)),
        of_query(),
        of_query(OLD),
    ]
    assert len({each.id for each in different}) == len(different)
    assert all(len(each.id) == 8 and int(each.id, 16) >= 0 for each in different)


def test_what_is_written_is_what_is_read() -> None:
    silences = {each.id: each for each in (of_query(), of_environments("env-b", "env-a"))}
    content = json.loads(json.dumps(content_of(silences)))
    assert silences_of(content, matcher_of) == silences
    assert [each.keys() for each in content.values()] == [GOOD.keys(), GOOD.keys() - {"query"} | {"environments"}]


GOOD: dict[str, Any] = {"query": "name:a", "at": NOW, "until": NOW + 1, "note": "why", "by": "ada"}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "text",
        {},
        GOOD | {"at": None},
        GOOD | {"at": True},
        GOOD | {"until": "soon"},
        GOOD | {"until": float("nan")},
        GOOD | {"note": 7},
        GOOD | {"by": ["ada"]},
        GOOD | {"query": "name:("},
        GOOD | {"query": 7},
        GOOD | {"query": None, "environments": []},
        GOOD | {"query": None, "environments": [7]},
        GOOD | {"query": None, "environments": "env-a"},
    ],
)
def test_a_damaged_silence_costs_itself_alone(raw: object) -> None:
    assert list(silences_of({"1": raw, "2": GOOD}, matcher_of)) == ["2"]


@pytest.mark.parametrize(("length", "is_read"), [(1_000, True), (1_001, False)])
def test_a_query_that_is_too_long_is_not_read(length: int, *, is_read: bool) -> None:
    found = silences_of({"1": GOOD | {"query": "x" * length}}, lambda _: ONLY_A)
    assert bool(found) is is_read


def test_note_and_author_may_be_missing() -> None:
    (silence,) = silences_of({"1": {"environments": ["env-a", 7], "at": 1, "until": 2}}, matcher_of).values()
    assert silence == Silence(
        id=clean("1"),
        environments=frozenset({key_of("env-a")}),
        at=WallMs(1),
        until=WallMs(2),
        note=clean(""),
        by=clean(""),
    )


@given(text=st.sampled_from(WEAPONS) | st.text(max_size=300))
def test_no_text_in_a_file_stays_as_it_is_if_it_could_act_on_a_terminal(text: str) -> None:
    raw = GOOD | {"query": None, "environments": [text], "note": text, "by": text}
    for silence in silences_of({text: raw}, matcher_of).values():
        texts = (silence.id, silence.note, silence.by, *(id_ for _, id_ in silence.environments))
        assert all(clean(each, max(len(each), 1)) == each for each in texts)
        assert (len(silence.id) <= 80, len(silence.by) <= 80, len(silence.note) <= LONGEST_NOTE) == (True, True, True)
