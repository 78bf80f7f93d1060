"""The serving host's marks of an environment reach viewers, and change nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json
from support.builders import NOW, environment, key_of, listed, reading, wire_row, wire_rows
from support.served import Row, Served, any_rows, header

from envwatch.alerts.alert_policy import AlertPolicy, Word
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence, silence_of_environments
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.tracking import Matcher
from envwatch.fleet.uptime import Uptime
from envwatch.model import limits
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.shared_marks import SHARED_FIELD
from envwatch.model.text import clean
from envwatch.model.times import MS
from envwatch.serve.answers import SharedState

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = clean("ops-1")
HOUR = 3_600_000.0
ACK = Ack(NOW - 60_000, clean("on it"))
INC = clean("inc-0a1b2c3d4e5f")
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"


def silence(ids: Iterable[str], until: float = NOW + 30_000) -> Silence:
    return silence_of_environments(
        [key_of(id_) for id_ in ids], WallMs(NOW), (until - NOW) * MS, clean("work on the rack"), clean("ada")
    )


def shared(acked: Iterable[str] = (), *silences: Silence) -> SharedState:
    return SharedState(HOST, {key_of(id_): ACK for id_ in acked}, {each.id: each for each in silences})


def notes(profile: Served, at: float = NOW) -> dict[str, Any]:
    return {row["id"]: row["envwatch"] for row in profile.rows(at=at) if "envwatch" in row}


def test_acknowledgements_and_incidents_stand_in_their_rows() -> None:
    """An acknowledgement of a viewer comes with its end and uuid, and without the viewer's address."""
    by_ann = replace(ACK, by=clean("ann"), until=NOW + 1.0, uuid=clean(UUID), address=clean("192.0.2.7"))
    acks = {"env-1": by_ann, "env-2": ACK, "env-3": replace(by_ann, until=NOW), "unknown": ACK}
    rows, profile = wire_rows(4), Served()
    profile.poll(
        rows, shared=SharedState(HOST, {key_of(id_): ack for id_, ack in acks.items()}, incidents={clean("env-2"): INC})
    )
    mark = {"by": "ann", "at": NOW - 60_000, "note": "on it", "until": NOW + 1, "uuid": UUID}
    own = {"by": "ops-1", "at": NOW - 60_000, "note": "on it"}
    assert notes(profile) == {"env-1": {"ack": mark}, "env-2": {"ack": own, "incident": INC}}
    profile.step(None, NOW + 1_000, SharedState(HOST))
    assert notes(profile, NOW + 1_000) == {}


def test_a_silence_stands_in_its_rows_until_its_end() -> None:
    profile, state = Served(), shared(["env-1"], silence(["env-1", "env-3"]))
    profile.poll(wire_rows(3), shared=state)
    note = {"by": "ops-1", "until": NOW + 30_000, "reason": "work on the rack"}
    for at, expected in ((NOW, note), (NOW + 29_999, note), (NOW + 30_000, None)):
        profile.step(None, at, state)
        found = notes(profile, at)
        assert [found.get(id_, {}).get("silence") for id_ in ("env-1", "env-2", "env-3")] == [expected, None, expected]
        assert "ack" in found["env-1"]
    matcher = Matcher(clean("id:env-2"), lambda tracked, now: tracked.environment.id == "env-2" and now == NOW)
    profile.step(None, NOW, shared([], silence([])._replace(matcher=matcher)))
    assert notes(profile).keys() == {"env-2"}


@pytest.mark.parametrize(
    ("up_h", "alerts"),
    [
        (47, {"pages": False, "why": "does not page: watched for 47 of 48 h", "share": None}),
        (48, {"pages": True, "why": "pages: up 100 % of 2 days", "share": 1.0}),
    ],
)
def test_the_decision_and_the_share_stand_in_the_row(up_h: float, alerts: dict[str, Any]) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    outcome = listed([environment("env-1")])
    monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    uptime = Uptime().after(up_h * HOUR, is_up=True)
    monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord(rows={clean("env-1"): uptime}))
    marks = SharedState(HOST, policy=AlertPolicy()).marks(monitor.fleet.by_profile[NO_PROFILE], reading())
    assert marks == {"env-1": {"alerts": alerts}}


def test_a_word_of_the_serving_host_decides_for_viewers_at_once() -> None:
    profile, never = Served(), {key_of("env-2"): Word(is_always=False, at=WallMs(NOW), by=clean("ann"))}
    profile.poll(wire_rows(2), shared=SharedState(HOST, policy=AlertPolicy()))
    assert [each["alerts"]["pages"] for each in notes(profile).values()] == [True, True]
    profile.step(None, NOW + 1_000, SharedState(HOST, policy=AlertPolicy(), words=never))
    found = notes(profile, NOW + 1_000)
    assert found["env-1"]["alerts"]["pages"]
    assert found["env-2"]["alerts"] == {"pages": False, "why": "does not page: never, by ann, 9 Oct", "share": None}


def test_a_note_of_upstream_stays_unless_this_host_has_its_own() -> None:
    """Upstream may be another `envwatch serve`."""
    profile, policy = Served(), AlertPolicy()
    theirs = {"ack": {"by": "far", "at": 1, "note": ""}, "alerts": {"pages": False, "why": "does not page: x"}}
    rows = [wire_row("a", envwatch=theirs), wire_row("b", envwatch=theirs)]
    profile.poll(rows, shared=shared(["b"]))
    assert notes(profile)["a"] == theirs
    assert notes(profile)["b"]["ack"]["by"] == "ops-1"
    profile.step(None, NOW, SharedState(HOST, policy=policy))
    assert notes(profile)["a"] == {**theirs, "alerts": {"pages": False, "why": "does not page: x", "share": None}}


def test_a_change_between_two_polls_is_served_at_once_and_has_another_tag() -> None:
    profile = Served()
    profile.poll(wire_rows(3))
    before, rows = profile.ask(), profile.endpoint.listing
    profile.step(None, NOW + 1_000, shared(["env-2"]))
    after = profile.ask(at=NOW + 1_000)
    assert notes(profile, NOW + 1_000).keys() == {"env-2"}
    assert header(after, "ETag") != header(before, "ETag")
    assert header(after, "Envwatch-Listing-Age") == "1.000"
    assert rows is not None
    assert profile.endpoint.listing is not None
    assert [new is old for new, old in zip(profile.endpoint.listing.rows, rows.rows, strict=True)] == [
        True,
        False,
        True,
    ]
    profile.step(None, NOW + 2_000, shared())
    assert profile.ask(at=NOW + 2_000).body == before.body
    assert header(profile.ask(at=NOW + 2_000), "ETag") == header(before, "ETag")


@given(any_rows(), st.data())
def test_a_viewer_reads_the_same_row_but_for_the_note(rows: list[Row], data: st.DataObject) -> None:
    profile = Served()
    profile.poll([{name: value for name, value in row.items() if name != SHARED_FIELD} for row in rows])
    ids = [environment.id for environment in profile.environments]
    acked = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    profile.step(None, NOW, shared(acked))
    decoded = [environment for page in profile.pages() for environment in page.environments]
    for read, polled in zip(decoded, profile.environments, strict=True):
        assert ("envwatch" in read.unknown) is (polled.id in acked)
        assert (
            replace(read, unknown={name: each for name, each in read.unknown.items() if name != "envwatch"}) == polled
        )


@pytest.mark.parametrize(("spare", "is_noted"), [(1_000, True), (50, False)])
def test_a_row_is_never_too_large_because_of_its_note(spare: int, is_noted: bool) -> None:  # noqa: FBT001  # a column
    row = wire_row("a", metadata={f"m{number}": "x" * 1_000 for number in range(255)})
    room = limits.ROW_BYTES - spare - len(to_json(row))
    row["metadata"] |= {f"n{number}": "x" * (room // 5 - 9) for number in range(5)}
    profile = Served()
    profile.poll([row], shared=shared(["a"]))
    (page,) = profile.pages()
    assert [each.metadata for each in page.environments] == [each.metadata for each in profile.environments]
    assert (len(page.environments), page.rejected) == (1, 0)
    assert ("a" in notes(profile)) is is_noted


def test_marks_of_an_environment_of_another_server_stand_in_no_row() -> None:
    one, other = clean("one.example"), clean("other.example")
    silences = [
        silence_of_environments([(server, clean("env-2"))], WallMs(NOW), timedelta(hours=1), clean(""), clean("ada"))
        for server in (one, other)
    ]
    state = SharedState(
        HOST,
        {(one, clean("env-1")): ACK, (other, clean("env-1")): ACK},
        {each.id: each for each in silences},
    )
    outcome = listed([environment("env-1"), environment("env-2")])
    for server, ids in ((one, {"env-1", "env-2"}), (clean("third.example"), set())):
        monitor = Monitor.create({NO_PROFILE: Limits()}, servers={NO_PROFILE: server})
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        assert state.marks(monitor.fleet.by_profile[NO_PROFILE], reading()).keys() == ids
