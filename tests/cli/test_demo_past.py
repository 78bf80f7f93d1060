"""The demo's past: the day before the opening, as the history has the day."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.lives import plain_life

from envwatch.cli.demo_past import write_past
from envwatch.demo.fleet import DemoFleet
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.history.stored import Retention, StoredPast, day_paths, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from pathlib import Path

    from support.in_process import Envwatch

START = 1_764_000_000_000
HOUR = 3_600_000
ALWAYS = WallMs(0), WallMs(START * 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("past") / "demo@demo"


@pytest.fixture(scope="module")
def past(folder: Path) -> StoredPast:
    write_past(folder, START)
    return StoredPast(folder)


@pytest.fixture(scope="module")
def events(past: StoredPast) -> list[Event]:
    return [event for step in past.steps(*ALWAYS) for event in step.events]


@pytest.mark.slow
def test_the_day_is_watched_in_two_runs_up_to_the_opening(past: StoredPast) -> None:
    polls = past.polls(*ALWAYS)
    assert 0 <= polls[0].at - (START - 24 * HOUR) < 300_000
    assert 1_000 < START - polls[-1].at < 2_000
    first, second = dict.fromkeys(poll.run for poll in polls)
    before, after = ([poll.at for poll in polls if poll.run == run] for run in (first, second))
    assert 40 * 60_000 <= after[0] - before[-1] < 50 * 60_000
    failed = [poll for poll in polls if poll.result is PollResult.FAILED]
    assert {START - poll.at > 21 * HOUR for poll in failed} == {True}


def test_the_last_moment_leads_to_the_opening(past: StoredPast) -> None:
    last = past.polls(*ALWAYS)[-1]
    known = past.moment(last).profile_state.environments
    names = ("connectionId", "connectedAt", "firstSeenAt", "podId")
    rows = [row for row in DemoFleet(40, START).rows(START) if row["connectedAt"]]
    for row in rows:
        found = known[row["id"]].environment
        assert [row[name] for name in names] == [
            found.connection_id, found.connected_at, found.first_seen_at, found.pod_id
        ]  # fmt: skip


def test_the_log_has_every_kind_of_event(events: list[Event]) -> None:
    kinds = {event.kind for event in flatten(events)}
    assert kinds >= {Kind.VERSION, Kind.MODE, Kind.BRANCH, Kind.APPEARED, Kind.RESTARTED}
    assert kinds >= {Kind.FAILING, Kind.BLIND, Kind.REACHED, Kind.VISIBLE}
    together = [event for event in events if event.kind is Kind.TOGETHER]
    assert [(event.of, event.reason) for event in together] == [(Kind.OFFLINE, "pod p-4"), (Kind.ONLINE, None)]
    assert {len(event.members) for event in together} == {13}


def test_one_machine_is_down_for_hours_and_acknowledged_until_its_recovery(past: StoredPast) -> None:
    moments = [past.moment(poll) for poll in past.polls(*ALWAYS)]
    acknowledged = [moment for moment in moments if moment.acks]
    ((id_, ack),) = acknowledged[0].acks.items()
    assert "OPS-412" in ack.note
    off = [each for each in acknowledged if each.profile_state.environments[id_].presence is Presence.OFFLINE]
    assert off == acknowledged[: len(off)]
    assert len(acknowledged) - len(off) <= 1, "until the row was up for a minute"
    assert off[-1].now.wall - acknowledged[0].now.wall > 4 * HOUR
    assert not moments[-1].acks


def test_nothing_changes_while_another_demo_records(tmp_path: Path) -> None:
    recording = FolderWriter(tmp_path, Retention())
    assert recording.take()
    write_past(tmp_path, START)
    assert day_paths(tmp_path) == []
    recording.close()


def test_the_newest_demo_is_reported_as_a_profile_unless_the_configuration_has_the_profile(envwatch: Envwatch) -> None:
    ended = envwatch("report", "--profile", "demo")
    assert (ended.code, ended.line) == (1, "there is no recorded demo: run `envwatch demo` first")
    writer = FolderWriter(history_folder(envwatch.home / "envwatch", "demo", "demo"), Retention())
    writer.take()
    for moment, result, events in plain_life(time.time() * 1000 - HOUR).steps:
        writer.write(moment, result, events)
    writer.close()
    ended = envwatch("report", "--profile", "demo", "--since", "24h")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "# envwatch: `demo` on `demo`")
    envwatch.write_config('[profiles.demo]\nbase_url = "https://letta.example.com"\n')
    ended = envwatch("report", "--profile", "demo")
    assert ended.code == 1
    assert "nothing was recorded of profile demo on letta.example.com" in ended.err


@pytest.mark.slow
def test_a_later_demo_begins_anew_and_a_fleet_without_a_day_has_no_past(past: StoredPast, folder: Path) -> None:
    """Last, because the test replaces the past of the other tests."""
    opening = START + 30 * HOUR
    write_past(folder, opening)
    polls = past.polls(WallMs(0), WallMs(opening * 2))
    assert 0 <= polls[0].at - (opening - 24 * HOUR) < 300_000
    write_past(folder, None)
    assert day_paths(folder) == []
