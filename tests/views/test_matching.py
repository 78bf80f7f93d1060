"""Matching rows and events: the event log's filter, queries of policies and silences, and the end of `wait`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, slept, watched
from support.tracked_environments import matches, tracked

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, EnvironmentState, Event, Kind
from envwatch.fleet.presence import PresenceRule
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError
from envwatch.views.events.event_text import event_text
from envwatch.views.events.matching import (
    EventFilter,
    WaitCondition,
    WaitProgress,
    compile_matcher,
    event_test,
    matcher_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome


HOUR = 3_600_000.0
JUDGE = PresenceRule(Limits())
ROWS = {
    "env-1": environment("env-1", connectionId=None, currentMode="acceptEdits"),
    "env-2": environment("env-2", currentMode="unrestricted"),
    "env-3": environment("env-3", lastHeartbeat=NOW - 100_000),
}
"""Environments known to events; further events have none."""


def event(kind: Kind, id_: str | None = "env-1", name: str | None = None, profile: str = "", **changes: Any) -> Event:
    texts: dict[str, Any] = {key: clean(value) if isinstance(value, str) else value for key, value in changes.items()}
    shown_name = name or (f"laptop of {id_}" if id_ else None)
    row = ROWS.get(id_ or "")
    return Event(
        kind=kind,
        at=NOW,
        profile=clean(profile),
        id=None if id_ is None else clean(id_),
        name=None if shown_name is None else clean(shown_name),
        then=None if row is None else EnvironmentState(row, JUDGE.verdict(row, NOW)),
        **texts,
    )


FELL = event(Kind.OFFLINE, reason="heartbeat lost (121 s)")
DRIFTED = event(Kind.MODE, "env-2", field="mode", before="standard", after="unrestricted")
FORGOTTEN = event(Kind.GONE, "env-9", reason="no longer listed")
STALLED = event(Kind.STALLED, None)
HISTORY = [FELL, DRIFTED, FORGOTTEN, STALLED]


def found(text: str, event_log: Sequence[Event] = HISTORY) -> list[Event]:
    event_filter = EventFilter(parse(text, UTC), UTC)
    return [event for event in event_log if any(event_filter.results(event))]


def test_an_empty_query_keeps_all() -> None:
    assert found("") == HISTORY


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("lost", [FELL]),
        ("HEARTBEAT", [FELL, STALLED]),
        ("ENV-2", [DRIFTED]),
        ("offline", [FELL]),
        ("gone", [FORGOTTEN]),
        ("mode", [DRIFTED]),
        ("went heartbeat", [FELL]),
        ("went gone", []),
        ("!heartbeat", [DRIFTED, FORGOTTEN]),
        ('"went offline"', [FELL]),
        ("off*", [FELL]),
        ('*"standard → "*', [DRIFTED]),
        ("heart*", []),
        ("laptop?of?env-?", [FELL, DRIFTED, FORGOTTEN]),
        ("→", [DRIFTED]),
    ],
)
def test_words_match_the_name_the_text_and_the_kind(text: str, kept: list[Event]) -> None:
    assert found(text) == kept


def test_a_word_matches_within_one_part_also_in_the_profile_and_in_a_time() -> None:
    assert found('"env-1 went"') == found('"env-1\nwent"') == []
    there = event(Kind.ONLINE, profile="prod")
    assert found("prod", [event(Kind.ONLINE), there]) == [there]
    group = Event(kind=Kind.WHILE_BLIND, at=NOW, since=ServerMs(NOW - HOUR), members=(FELL,))
    assert found('"07:53:20Z"', [group]) == [group]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mode:acceptEdits", [FELL]),
        ("mode:standard", []),
        ("status:offline,online", [FELL, DRIFTED]),
        ("!mode:unrestricted", [FELL, FORGOTTEN, STALLED]),
        ("!mode:unrestricted !mode:acceptEdits", [FORGOTTEN, STALLED]),
        ("branch:none", []),
        ("!branch:none", HISTORY),
        ("mode:acceptEdits heartbeat", [FELL]),
        ("mode:unrestricted heartbeat", []),
        ("!mode:unrestricted !heartbeat", [FORGOTTEN]),
    ],
)
def test_terms_match_the_environment_of_the_time_and_other_events_pass_only_negated_terms(
    text: str, kept: list[Event]
) -> None:
    assert found(text) == kept


@pytest.mark.parametrize(("age", "is_kept"), [(89_999, False), (90_000, True)])
def test_ages_are_of_the_event(age: float, *, is_kept: bool) -> None:
    then = EnvironmentState(environment("env-3", lastHeartbeat=NOW - age), JUDGE.verdict(ROWS["env-3"], NOW))
    assert bool(found("beat:>=90s", [replace(event(Kind.MODE, "env-3", field="mode"), then=then)])) is is_kept


def test_an_event_is_found_by_its_profile_its_new_value_and_the_last_pod() -> None:
    event_log = [event(Kind.ONLINE, profile=profile) for profile in ("here", "there")]
    assert [one.profile for one in found("profile:=here", event_log)] == ["here"]
    assert [one.profile for one in found("!profile:=here", event_log)] == ["there"]
    drift, *_ = events_of([environment()], [environment(connectionId=None, currentMode="plan")])[::-1]
    assert drift.kind is Kind.MODE
    assert found("mode:plan", [drift]) == [drift]
    stays, off = environment("env-2"), environment("env-1", podId=None, connectionId=None)
    (lost, gone) = events_of([environment("env-1", podId="p-7"), stays], [off, stays], [stays], [stays])
    assert (lost.kind, gone.kind) == (Kind.OFFLINE, Kind.GONE)
    assert found("pod:p-7", [lost, gone]) == [lost, gone]


def events_of(*listings: Sequence[Environment]) -> list[Event]:
    _, events = watched(listed(rows, NOW + 5_000 * number) for number, rows in enumerate(listings))
    return events


def test_a_loss_is_found_by_the_pod_of_its_time() -> None:
    ids = [f"env-{n}" for n in range(12)]
    (lost, back) = events_of(
        [environment(id_, podId="p-7") for id_ in ids],
        [environment(id_, podId=None, connectionId=None) for id_ in ids],
        [environment(id_, podId="p-8") for id_ in ids],
    )
    assert found("pod:p-7", [lost, back]) == [lost]
    assert found("pod:p-8", [lost, back]) == [back]
    assert found("pod:none", [lost, back]) == []


def test_a_status_is_the_result_of_the_event() -> None:
    down = environment(connectionId=None)
    event_log = events_of([environment()], [down], [environment()], [down])
    assert [one.kind for one in event_log] == [Kind.OFFLINE, Kind.ONLINE, Kind.OFFLINE]
    assert found("status:offline", event_log) == [event_log[0], event_log[2]]
    assert found("status:online", event_log) == [event_log[1]]


def test_changed_finds_the_marks_of_a_row_and_no_other_change() -> None:
    fell, drifted = event(Kind.OFFLINE), event(Kind.MODE, field="mode")
    assert found("changed:yes", [fell, drifted, event(Kind.BRANCH, field="branch")]) == [fell, drifted]
    assert found("changed:yes", [gone := event(Kind.GONE)]) == [gone]


@pytest.mark.parametrize(("query", "holds"), [("flapping:yes", "is_flapping"), ("status:unknown", "clock_suspect")])
def test_flapping_and_unknown_are_of_the_event(query: str, holds: str) -> None:
    verdict = JUDGE.verdict(ROWS["env-2"], NOW)
    marked: dict[str, Any] = {holds: True}
    one = replace(FELL, then=EnvironmentState(ROWS["env-2"], verdict, **marked))
    assert found(query, [FELL, one]) == [one]


LOST = Event(
    kind=Kind.TOGETHER,
    of=Kind.OFFLINE,
    at=NOW,
    reason=clean("pod p-7"),
    members=(FELL, event(Kind.OFFLINE, "env-3"), event(Kind.OFFLINE, "env-9")),
)


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("p-7", True),
        ("env-3", True),
        ("env-4", False),
        ("mode:acceptEdits", True),
        ("mode:acceptEdits env-3", False),
        ("p-7 mode:acceptEdits", True),
        ("p-7 mode:strict", False),
        ("!env-3", True),
        ("mode:strict", False),
    ],
)
def test_a_group_is_kept_whole_if_any_member_matches_with_the_text_of_the_group(text: str, *, is_kept: bool) -> None:
    assert found(text, [LOST]) == [LOST] * is_kept


@pytest.mark.parametrize(
    "text", ['!"offline together"', "!offline", "!went", "!p-7", "!together", "!status:offline", "!os:linux"]
)
def test_a_query_against_every_member_hides_the_group(text: str) -> None:
    members = [event(Kind.OFFLINE, "env-1"), event(Kind.OFFLINE, "env-1", "other")]

    assert found(text, [replace(LOST, members=tuple(members))]) == []


EVENTS = st.builds(
    event,
    st.sampled_from([Kind.OFFLINE, Kind.ONLINE, Kind.MODE, Kind.STALLED]),
    st.sampled_from(["env-1", "env-2", "env-9", None]),
    st.sampled_from(["nas", "web-1", None]),
    field=st.just("mode"),
    before=st.just("strict"),
    lasted=st.none() | st.just(timedelta(hours=3)),
)
GROUPS = st.builds(
    lambda members: Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=NOW, members=tuple(members)),
    st.lists(EVENTS, min_size=1, max_size=3),
)
TYPED = st.sampled_from(
    ["nas", "env-1", "3h", "n?s", "*line*", "together", "mode:unrestricted", "status:offline", "os:linux"]
)
LINES = st.lists(st.tuples(st.sampled_from(["", "!"]), TYPED).map("".join), max_size=3).map(" ".join)


def expected(text: str, one: Event, group: Event | None = None) -> bool:
    """Return an independent test of one event without members, alone or in a group."""
    events = [one] if group is None else [group, one]
    texts = ((each.name or "", event_text(each, UTC), each.kind.value, each.profile) for each in events)
    parts = list(chain.from_iterable(texts))
    by_field: dict[str, list[bool]] = {}
    for typed in text.split():
        body = typed.removeprefix("!")
        if ":" in body:
            then = one.then
            row = tracked() if then is None else TrackedEnvironment(environment=then.environment, verdict=then.verdict)
            holds = then is not None and matches(parse(body, UTC), row)
        else:
            pattern = ".*".join(re.escape(piece).replace(r"\?", ".") for piece in body.split("*"))
            is_wild = "*" in body or "?" in body
            holds = any((re.fullmatch if is_wild else re.search)(pattern, part, re.IGNORECASE) for part in parts)
        if typed != body and holds:
            return False
        if typed == body:
            by_field.setdefault(body.partition(":")[0] if ":" in body else body, []).append(holds)
    return all(any(alternatives) for alternatives in by_field.values())


@given(st.lists(EVENTS | GROUPS, max_size=5), LINES)
def test_a_query_keeps_what_the_independent_test_keeps_in_order(event_log: list[Event], text: str) -> None:
    kept = [
        one
        for one in event_log
        if (any(expected(text, leaf, one) for leaf in one.members) if one.members else expected(text, one))
    ]
    assert found(text, event_log) == kept


# Queries of the alert policy and of silences.


def test_a_query_of_a_policy_matches_ages_of_the_moment_and_words_of_every_column() -> None:
    matcher, one = compile_matcher("beat:>90s"), tracked(lastHeartbeat=NOW)
    assert [matcher.matches(one, NOW + ms) for ms in (90_000, 90_001, 90_000)] == [False, True, False]
    assert compile_matcher("pod-1").matches(tracked(), NOW)
    assert not compile_matcher("pod-2").matches(tracked(), NOW)
    assert compile_matcher("  ").matches(tracked(), NOW)
    assert compile_matcher("a   b") == compile_matcher("a b") != compile_matcher("a c")


def test_rows_and_events_without_a_profile_are_of_the_only_profile() -> None:
    assert compile_matcher("profile:work", clean("work")).matches(tracked(), NOW)
    assert not compile_matcher("profile:work", clean("home")).matches(tracked(), NOW)
    assert (matcher := matcher_or_none("profile:work", clean("work"))) is not None
    assert matcher.matches(tracked(), NOW)
    one = tracked()
    event = Event(kind=Kind.MODE, at=NOW, id=one.environment.id, then=EnvironmentState(one.environment, one.verdict))
    assert [event_test("profile:work", clean(name))(event) for name in ("work", "home")] == [True, False]


def test_a_mistake_is_an_error_or_none() -> None:
    with pytest.raises(QueryError):
        compile_matcher("beat:soon")
    assert matcher_or_none("beat:soon") is None


# The end of `wait`.


OFF = {"connectionId": None, "lastHeartbeat": None}


def progress(query: str, *outcomes: Outcome, now: float | None = None, **how: object) -> WaitProgress:
    monitor, at = Monitor.create({NO_PROFILE: Limits()}), NOW + 0.0
    for outcome in outcomes:
        at = outcome.ended.monotonic * 1000 + NOW if not hasattr(outcome, "awake") else at
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    condition = WaitCondition(query=parse(query), **how)  # type: ignore[arg-type]
    return condition.progress(monitor, reading(at if now is None else now))


def after(seconds: float, *rows: str, **changes: object) -> Listed:
    at = NOW + seconds * 1000
    return listed([environment(f"env-{row}", lastHeartbeat=at - 1_000, **changes) for row in rows], at)


@pytest.mark.parametrize(("count", "is_met"), [(1, True), (2, True), (3, False)])
def test_so_many_must_match(count: int, *, is_met: bool) -> None:
    found = progress("status:online", listed([*beating(2), environment("env-3", **OFF)]), count=count)
    assert (len(found.matching), found.is_met, found.is_proven) == (2, is_met, True)


def test_an_environment_must_match_every_term_and_be_judged() -> None:
    assert progress("status:online laptop*1", after(0, "1", "2")).is_met
    found = progress('status:online "env-1"', after(0, "1", "2"))
    assert [row.environment.id for row in found.matching] == ["env-1"]
    assert progress("status:online") == ([], False, False)
    assert progress("status:online", is_absence=True) == ([], False, False)
    seconds_for_milliseconds = environment("env-2", lastHeartbeat=NOW / 1000)
    first = listed([*beating(1), seconds_for_milliseconds])
    assert not progress("env-2", first).is_met
    assert not progress("env-2", first, is_absence=True).is_met
    assert progress("env-1", first).is_met


@pytest.mark.parametrize(("query", "is_met"), [("env-9", True), ("env-1", False), ("status:offline", True)])
def test_absence_is_met_when_none_matches(query: str, *, is_met: bool) -> None:
    assert progress(query, after(0, "1"), is_absence=True).is_met is is_met


def test_a_gone_row_matches_a_query_for_states_only() -> None:
    went = (
        after(0, "1", "2", "3", "4", "5", "6"),
        *(after(s, "2", "3", "4", "5", "6") for s in (5, 10)),
    )
    assert progress("env-1", *went, is_absence=True).is_met
    assert progress("status:gone", *went).is_met
    assert progress("env-1", *went[:2], is_absence=True).is_met is False, "one listing proves no absence"


def test_blind_asleep_quarantined_and_stalled_prove_nothing() -> None:
    first = after(0, "1", "2", "3")
    assert progress("env-1", first, now=NOW + 60_000).is_met
    assert not progress("env-1", first, now=NOW + 60_001).is_met
    assert not progress("env-1", first, slept(NOW + 1_000, NOW + 9_000)).is_met
    assert not progress("env-1", first, listed([], NOW + 5_000), is_absence=True).is_met
    assert progress("env-1", first, failed(at=NOW + 5_000)).is_met, "one failure is not blindness"
    still = [listed(beating(10), NOW + 5_000 * number) for number in range(16)]
    assert not progress("mode:standard", *still).is_proven
    assert progress("mode:standard", *still[:2]).is_proven


def test_every_profile_must_be_seen() -> None:
    names = (clean("home"), clean("work"))
    condition = WaitCondition(query=parse("env-1"))
    monitor = Monitor.create(dict.fromkeys(names, Limits()))
    monitor, _ = monitor.apply(names[0], after(0, "1"), reading())
    assert not condition.progress(monitor, reading()).is_met
    monitor, _ = monitor.apply(names[1], after(0, "2"), reading())
    assert condition.progress(monitor, reading()).is_met
    assert not replace(condition, count=2).progress(monitor, reading()).is_met
