"""A run's alert state as a file keeps it: the restored state, and the cost of damage."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, reading
from support.scripted_watch import hooked

from envwatch.alerts.alert_state import (
    AlertState,
    alert_state,
    alert_state_content,
    ledger_content,
    unreadable_in,
)
from envwatch.alerts.incident import Blindness, Incident
from envwatch.alerts.losses import Loss
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.last_run import LastRun
from envwatch.fleet.presence import DISCONNECTED, GONE
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment

LATER = reading(NOW + 60_000)


def state(*names: str) -> AlertState:
    """Return a state after a blind time: one environment in an open incident, the rest waiting."""
    one = hooked(*names).hold(15, names[0]).hold(5, *names)
    found = one.monitor.alert_state(NO_PROFILE, LATER, {clean("page"): WallMs(NOW)})
    return replace(found, blindness=Blindness(MonotonicS(LATER.monotonic - 7), ServerMs(NOW)))


STATE = state("a", "b", "c")
CONTENT = json.loads(json.dumps(alert_state_content(STATE, LATER)))


def test_a_state_comes_back_unchanged_but_for_the_rows_of_its_losses() -> None:
    def bare(loss: Any, incident: str) -> Any:
        return replace(loss, incident=incident, before=None, after=None, lasted=None, then=None)

    after = alert_state(CONTENT, NO_PROFILE, LATER)
    waiting = tuple(loss._replace(event=bare(loss.event, loss.incident)) for loss in STATE.waiting)
    incidents = tuple(each._replace(losses=tuple(bare(loss, each.id) for loss in each.losses)) for each in STATE.open)
    assert len(waiting) == 2
    assert len(incidents) == 1
    expected = replace(STATE, waiting=waiting, open=incidents, ledger=STATE.ledger.only({clean("page")}))
    assert after is not None
    assert replace(after, last_run=expected.last_run) == expected
    assert after.last_run._replace(rows={}) == LastRun(STATE.last_run.looked_at)
    assert {id_: kept_of(each) for id_, each in after.last_run.rows.items()} == {
        id_: kept_of(each) for id_, each in STATE.last_run.rows.items()
    }


def kept_of(tracked: TrackedEnvironment) -> tuple[Any, ...]:
    """Return what the file keeps of a row."""
    memory = tracked.transitions, tracked.is_flapping, tracked.twins, tracked.offline_beside
    return tracked.environment, tracked.verdict, tracked.since_at, *memory


def test_a_file_has_the_announcements_of_its_own_profile() -> None:
    (incident,) = STATE.open
    assert {id_: [*hooks] for id_, hooks in ledger_content(STATE.ledger, NO_PROFILE, LATER).items()} == {
        incident.id: ["page"]
    }
    assert ledger_content(STATE.ledger, clean("other"), LATER) == {}


def unread_in(content: dict[str, Any]) -> tuple[AlertState, list[SafeText]]:
    """Return the state in a file, and the places of what cannot be read."""
    unread: list[SafeText] = []
    state = alert_state(content, NO_PROFILE, LATER, unread)
    assert state is not None
    return state, unread


def test_an_empty_file_has_no_state() -> None:
    assert alert_state({}, NO_PROFILE, LATER) is None


@pytest.mark.parametrize(("written", "looked_at"), [({"written_at": NOW}, NOW), ({}, LATER.wall)])
@pytest.mark.parametrize("damage", [{}, {"looked_at": "x"}, {"looked_at": None}])
def test_without_the_time_of_the_last_look_the_time_of_the_write_counts(
    damage: dict[str, object], written: dict[str, float], looked_at: float
) -> None:
    state, unread = unread_in({"rows": CONTENT["rows"]} | damage | written)
    assert state.last_run.rows.keys() == set("abc")
    assert state.last_run.looked_at == looked_at
    assert unread == [name for name, value in damage.items() if value is not None]


INCIDENT_ID, INCIDENT = next(iter(CONTENT["open"].items()))
LOSS: dict[str, Any] = INCIDENT["losses"][0]

DAMAGES: dict[str, tuple[dict[str, object], list[str]]] = {
    "nothing": ({}, []),
    "no rows by id": ({"rows": "a"}, ["rows"]),
    "no rows": ({"rows": None}, ["rows"]),
    "a waiting loss": ({"waiting": CONTENT["waiting"] | {"x": {}}}, ["waiting x"]),
    "two incidents": ({"open": CONTENT["open"] | {"inc-2": 7, "inc-3": {}}}, ["open inc-2", "open inc-3"]),
    "an incident's losses": ({"open": {"inc-2": INCIDENT | {"losses": 7}}}, ["open inc-2"]),
    "an incident's loss": ({"over": {"inc-2": INCIDENT | {"losses": [{}, LOSS]}}}, ["over inc-2 loss 0"]),
    "announcements": ({"ledger": {"inc-2": 7, "inc-3": {"page": {}}}}, ["ledger inc-2", "ledger inc-3 page"]),
    "a row": ({"rows": CONTENT["rows"] | {"b": {"0": 7}}}, ["rows b"]),
    "a verdict": ({"rows": CONTENT["rows"] | {"b": CONTENT["rows"]["b"] | {"16": ["online", "x", True]}}}, ["rows b"]),
    "blindness": ({"blind": {"since": "x"}}, ["blind"]),
    "heartbeats": ({"is_stalled": 1}, ["is_stalled"]),
    "hooks": ({"failing": {"page": "x"}}, ["failing page"]),
}


@pytest.mark.parametrize(("damage", "unread"), DAMAGES.values(), ids=DAMAGES)
def test_each_damaged_value_is_named(damage: dict[str, object], unread: list[str]) -> None:
    assert unread_in(CONTENT | damage)[1] == unread
    assert list(unreadable_in(CONTENT | damage)) == unread


def test_times_in_the_future_count_as_this_moment_because_the_clock_was_set_back() -> None:
    earlier = reading(NOW - 3_600_000)
    after = alert_state(CONTENT, NO_PROFILE, earlier)
    assert after is not None
    assert after.last_run.looked_at == earlier.wall
    assert {loss.noticed_at for loss in after.waiting} == {earlier.monotonic}
    assert {incident.noticed_at for incident in after.open} == {earlier.monotonic}


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([name for name in CONTENT if name not in {"looked_at", "version"}]), JSON)
def test_damage_in_one_part_costs_no_other_part(part: str, value: object) -> None:
    after = alert_state(CONTENT | {part: value}, NO_PROFILE, LATER)
    whole = alert_state(CONTENT, NO_PROFILE, LATER)
    assert after is not None
    assert whole is not None
    changed = {"rows": "last_run", "is_stalled": "last_run", "written_at": "last_run", "over": "ledger"}.get(part, part)
    for name in {"last_run", "waiting", "open", "ledger", "failing"} - {changed}:
        assert getattr(after, name) == getattr(whole, name)


@given(st.sampled_from([*next(iter(CONTENT["waiting"].values()))]), JSON)
def test_a_damaged_waiting_loss_costs_no_other(part: str, value: object) -> None:
    (name, first), *others = CONTENT["waiting"].items()
    state, _ = unread_in(CONTENT | {"waiting": {name: first | {part: value}, **dict(others)}})
    assert [loss.event.id for loss in state.waiting][-len(others) :] == [loss["event"]["id"] for _, loss in others]


@pytest.mark.parametrize("damage", [{"silent_since": "x"}, {"noticed_at": None}])
def test_a_waiting_loss_without_its_times_still_counts(damage: dict[str, object]) -> None:
    name, loss = next(iter(CONTENT["waiting"].items()))
    state, _ = unread_in({"waiting": {name: loss | damage}})
    assert [getattr(each, *damage) for each in state.waiting] == [LATER.monotonic]


def opened(entries: dict[str, Any]) -> tuple[Incident, ...]:
    after = alert_state(CONTENT | {"open": entries}, NO_PROFILE, LATER)
    assert after is not None
    return after.open


@given(st.sampled_from([*INCIDENT]), JSON)
def test_a_damaged_incident_costs_no_other(part: str, value: object) -> None:
    assert "good" in [incident.id for incident in opened({"bad": INCIDENT | {part: value}, "good": INCIDENT})]


@pytest.mark.parametrize(
    "damage",
    [
        {"at": None},
        {"at": "7"},
        {"at": 1e16},
        {"kind": None},
        {"kind": "online"},
        {"kind": "blind"},
        {"id": None},
        {"id": ""},
    ],
)
def test_an_incident_has_its_readable_losses(damage: dict[str, object]) -> None:
    (loss,) = INCIDENT["losses"]
    entry = INCIDENT | {"losses": [loss | damage, loss | {"id": "b"}], "remaining": ["a", "b"]}
    (incident,) = opened({"inc-1": entry})
    assert [each.id for each in incident.losses] == ["b"]
    assert opened({"inc-1": INCIDENT | {"losses": [loss | damage]}}) == ()


def test_a_loss_says_what_is_known_of_a_row_that_the_file_lacks() -> None:
    def loss(id_: str, kind: Kind = Kind.OFFLINE) -> Loss:
        event = Event(kind=kind, at=NOW, id=clean(id_), name=clean(f"name of {id_}"))
        return Loss(event, Span(NOW, NOW), MonotonicS(0.0), MonotonicS(0.0))

    state = AlertState(last_run=STATE.last_run, waiting=(loss("gone", Kind.GONE), loss("off"), loss("b")))
    rows = state.known_run.rows
    assert [(rows[id_].verdict, rows[id_].since_at) for id_ in map(clean, ("gone", "off"))] == [
        (GONE, NOW),
        (DISCONNECTED, NOW),
    ]
    assert rows[clean("off")].environment.name == "name of off"
    assert rows[clean("b")] is STATE.last_run.rows[clean("b")]
