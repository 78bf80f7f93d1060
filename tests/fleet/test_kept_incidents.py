"""Announced incidents in a file: what comes back of them, and what damage costs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hooked import hooked

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.incidents import Incident
from envwatch.fleet.kept_incidents import KeptIncident, content_of, kept_incidents
from envwatch.model.clock import MonotonicS, ServerMs
from envwatch.model.text import clean, composed
from envwatch.storage.incidents_file import INCIDENTS, MOST_INCIDENTS
from envwatch.storage.state_file import merge

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "https://letta.example/v1/environments#work"
PROFILES = {SOURCE: NO_PROFILE}
NOW = MonotonicS(7.0)


def kept(*names: str) -> KeptIncident:
    ((_, fired),) = hooked(*names).hold(20, *names).fired
    assert isinstance(fired.subject, Incident)
    return KeptIncident(fired.subject, SOURCE, frozenset({clean("pager")}))


def test_an_incident_comes_back_as_it_was_but_for_its_rows() -> None:
    for names in (["a"], ["a", "b", "c", "d"]):
        before = kept(*names)
        (after,) = kept_incidents(json.loads(json.dumps({before.incident.id: content_of(before)})), PROFILES, NOW)
        losses = tuple(replace(loss, incident=before.incident.id) for loss in before.incident.losses)
        shown = tuple(replace(loss, before=None, after=None, lasted=None) for loss in losses)
        expected = replace(before.incident, noticed_at=NOW, losses=shown)
        assert (after.source, after.hooks) == (before.source, before.hooks)
        assert after.incident == expected


def test_an_incident_of_another_server_or_profile_does_not() -> None:
    before = kept("a")
    assert kept_incidents({"inc-1": content_of(before)}, {f"{SOURCE}2": NO_PROFILE}, NOW) == []


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*content_of(kept("a"))]), JSON)
def test_a_damaged_entry_costs_that_entry_alone(field: str, value: object) -> None:
    good = content_of(kept("a"))
    found = kept_incidents({"bad": good | {field: value}, "good": good}, PROFILES, NOW)
    assert "good" in [each.incident.id for each in found]


@given(st.sampled_from([*content_of(kept("a"))["losses"][0]]), JSON)
def test_a_damaged_environment_costs_no_more_than_its_incident(field: str, value: object) -> None:
    good = content_of(kept("a"))
    bad = good | {"losses": [good["losses"][0] | {field: value}]}
    found = kept_incidents({"bad": bad, "good": good}, PROFILES, NOW)
    assert "good" in [each.incident.id for each in found]


@pytest.mark.parametrize(
    "damage", [{"at": None}, {"at": "7"}, {"kind": None}, {"kind": "online"}, {"id": None}, {"id": ""}]
)
def test_an_incident_is_of_the_environments_that_can_be_read(damage: dict[str, object]) -> None:
    good = content_of(kept("a", "b", "c", "d"))
    first, *others = good["losses"]
    (after,) = kept_incidents({"inc-1": good | {"losses": [first | damage, *others]}}, PROFILES, NOW)
    assert [loss.id for loss in after.incident.losses] == [loss["id"] for loss in others]
    assert kept_incidents({"inc-1": good | {"losses": [first | damage]}}, PROFILES, NOW) == []


def test_a_hook_that_cannot_be_read_costs_no_other() -> None:
    (after,) = kept_incidents({"inc-1": content_of(kept("a")) | {"hooks": [7, "pager", None]}}, PROFILES, NOW)
    assert after.hooks == {"pager"}


def test_the_file_keeps_the_newest_incidents_and_drops_those_that_are_over(tmp_path: Path) -> None:
    path = tmp_path / "incidents.json"
    one = kept("a")
    many = {
        clean(f"inc-{number}"): replace(one, incident=replace(one.incident, began_at=number))  # type: ignore[arg-type]
        for number in range(MOST_INCIDENTS + 5)
    }
    merge(path, INCIDENTS, many)
    assert {*INCIDENTS.read_or_empty(path)} == {f"inc-{number}" for number in range(5, MOST_INCIDENTS + 5)}
    merge(path, INCIDENTS, {clean("inc-7"): None})
    assert len(INCIDENTS.read_or_empty(path)) == MOST_INCIDENTS - 1
    assert path.stat().st_size < INCIDENTS.limit


def test_an_incident_that_is_too_large_costs_no_other(tmp_path: Path) -> None:
    path, one = tmp_path / "incidents.json", kept("a")
    (loss,) = one.incident.losses
    reason = composed("x" * INCIDENTS.limit)
    began_at = ServerMs(one.incident.began_at + 1)
    huge = replace(one.incident, losses=(replace(loss, reason=reason),), began_at=began_at)
    merge(path, INCIDENTS, {clean("old"): one, clean("huge"): replace(one, incident=huge)})
    assert [*INCIDENTS.read_or_empty(path)] == ["old"]
