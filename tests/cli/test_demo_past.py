"""The demo's past: the monitor's results of the day, and the copy into the history."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count, pairwise
from shutil import copytree
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from support import programs
from support.exact import exact
from support.pty_terminal import environment

from envwatch.cli.arguments import Options
from envwatch.cli.bootstrap import Profiles, SelectedProfile, history_folder_for, history_for
from envwatch.cli.demo_past import LARGEST, SimulatedPoll, interval_for, steps, write_past
from envwatch.cli.demo_past_process import DemoHistory, DemoPast
from envwatch.cli.demo_settings import demo_settings
from envwatch.config.credentials import Credentials
from envwatch.demo.fleet import SimulatedFleet
from envwatch.demo.scenarios import FleetSpec, Scenario
from envwatch.demo.times import DAY_MS, time_of_day
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult
from envwatch.storage.history.folder import FolderLock, Retention, day_paths, history_folder
from envwatch.storage.history.past import StoredPast
from envwatch.storage.history.writer import FolderWriter

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.model.outcome import RecordedPoll

START = 1_764_000_000_000
MINUTE = 60_000


@pytest.fixture(scope="module")
def day() -> list[SimulatedPoll]:
    return [*steps(FleetSpec(40, 7), START, 0)]


@pytest.fixture(scope="module")
def events(day: list[SimulatedPoll]) -> list[Event]:
    return [event for step in day for event in step.events]


@pytest.fixture(scope="module")
def past_of_none(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history of a demo without environments, for copies."""
    folder = tmp_path_factory.mktemp("past") / "demo@demo-0-7"
    assert write_past(folder, FleetSpec(0, 7), START)
    return folder


def polls_in(folder: Path, since: float = 0, until: float = START + DAY_MS) -> list[RecordedPoll]:
    return [*StoredPast(folder).polls(WallMs(since), WallMs(until))]


def test_it_covers_the_day_but_for_one_gap_of_40_minutes(day: list[SimulatedPoll]) -> None:
    times = [step.moment.now.wall for step in day]
    assert 0 <= times[0] - (START - DAY_MS) < 83_000
    assert 900 < START - times[-1] < 9_000
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len([gap for gap in gaps if gap > 82_600]) == 1
    assert 40 * MINUTE <= max(gaps) < 42 * MINUTE
    firsts = [step.moment.now.wall for step in day if step.is_first]
    assert firsts == [times[0], times[gaps.index(max(gaps)) + 1]]


def test_it_ends_with_what_the_opening_begins_with(day: list[SimulatedPoll]) -> None:
    last = day[-1].moment
    rows = SimulatedFleet(FleetSpec(40, 7), START, time_of_day(START)).rows(int(last.now.wall))
    assert [*last.profile_state.environments] == [row["id"] for row in rows]
    states = {tracked.environment.label: tracked.presence for tracked in last.profile_state.environments.values()}
    assert 30 <= sum(presence in {Presence.ONLINE, Presence.LATE} for presence in states.values()) < 40


@pytest.mark.parametrize("scenario", Scenario)
def test_that_of_a_scenario_ends_with_what_that_begins_with(scenario: Scenario) -> None:
    last = [*steps(FleetSpec(40, 7, scenario), START, START - 10 * MINUTE)][-1].moment
    rows = {row["id"]: row["connectionId"] for row in SimulatedFleet(FleetSpec(40, 7, scenario), START).rows(START)}
    assert rows.keys() == last.profile_state.environments.keys()
    assert {id_ for id_, each in last.profile_state.environments.items() if each.verdict.is_up} <= {
        id_ for id_, link in rows.items() if link
    }
    assert sum(each.verdict.is_up for each in last.profile_state.environments.values()) == 33


def test_the_lost_pod_is_one_event_that_names_it_and_so_is_its_return(events: list[Event]) -> None:
    together = [event for event in events if event.kind is Kind.TOGETHER]
    assert [(event.of, event.reason) for event in together] == [(Kind.OFFLINE, "pod p-4"), (Kind.ONLINE, None)]
    assert len(together[0].members) >= len(together[1].members) >= 10


def test_everything_that_the_log_can_show_is_in_it(events: list[Event]) -> None:
    kinds = {event.kind for event in flatten(events)}
    assert kinds >= {Kind.FLAPPING, Kind.STEADY, Kind.VERSION, Kind.MODE, Kind.BRANCH, Kind.APPEARED, Kind.RESTARTED}
    assert kinds >= {Kind.FAILING, Kind.BLIND, Kind.REACHED, Kind.VISIBLE, Kind.RECONNECTED}
    assert "unrestricted" in {event.after for event in events if event.kind is Kind.MODE}


def test_a_day_is_calm(events: list[Event]) -> None:
    losses = [event for event in events if event.kind is Kind.OFFLINE]
    assert len({event.id for event in losses}) <= 16


def test_one_machine_is_down_for_hours_and_acknowledged_until_it_recovers(day: list[SimulatedPoll]) -> None:
    acknowledged = [step.moment for step in day if step.moment.acks]
    ((id_, ack),) = acknowledged[0].acks.items()
    assert "OPS-412" in ack.note
    assert all(moment.profile_state.environments[id_].presence is Presence.OFFLINE for moment in acknowledged)
    assert acknowledged[-1].now.wall - acknowledged[0].now.wall > 4 * 60 * MINUTE
    assert not day[-1].moment.acks


def test_failed_polls_are_part_of_it_with_their_cause(day: list[SimulatedPoll]) -> None:
    failed = [step for step in day if step.result is PollResult.FAILED]
    assert 4 <= len(failed) <= 6
    assert all(step.cause is not None and "503" in step.cause for step in failed)


@pytest.mark.parametrize(("size", "seconds"), [(1, 75), (40, 75), (100, 188), (400, 600), (LARGEST, 600)])
def test_a_larger_fleet_was_polled_less_often(size: int, seconds: int) -> None:
    assert interval_for(size).total_seconds() == seconds


def test_what_is_written_can_be_read_and_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "demo@demo-1-7"
    assert write_past(folder, FleetSpec(1, 7), START)
    expected = [*steps(FleetSpec(1, 7), START, 0)]
    polls = polls_in(folder)
    assert [poll.at for poll in polls] == [step.moment.now.wall for step in expected]
    assert len({poll.run for poll in polls}) == 2
    for place in (0, 777, -1):
        assert exact(StoredPast(folder).moment(polls[place])) == exact(expected[place].moment)
    assert not (folder / "demo-past").exists()
    assert not write_past(folder, FleetSpec(1, 7), START)
    later = START + 20 * 60 * MINUTE  # the newest poll is of the previous day
    assert not write_past(folder, FleetSpec(1, 7), later)
    assert polls_in(folder) == polls


def test_a_later_day_without_any_poll_is_written_after_what_is_there(past_of_none: Path, tmp_path: Path) -> None:
    folder = copytree(past_of_none, tmp_path / past_of_none.name)
    before = polls_in(folder)
    assert write_past(folder, FleetSpec(0, 7), START + DAY_MS)  # the file of the day of START stays
    after = polls_in(folder, until=START + 2 * DAY_MS)
    assert after[: len(before)] == before
    midnight = (START // DAY_MS + 1) * DAY_MS
    assert 0 <= after[len(before)].at - midnight < 2 * MINUTE
    assert [poll.number for poll in after] == [*range(1, len(after) + 1)]


def test_a_past_that_is_no_longer_wanted_is_made_by_the_next_demo(tmp_path: Path) -> None:
    polls = count()
    assert not write_past(tmp_path, FleetSpec(1, 7), START, lambda: next(polls) < 20)
    assert day_paths(tmp_path) == []
    writer = FolderWriter(tmp_path, Retention())  # the dashboard's writer, which records the last poll
    assert writer.take()
    step = next(steps(FleetSpec(1, 7), START, START - MINUTE))
    writer.write(step.moment, step.result, 5.0)
    writer.close()
    assert write_past(tmp_path, FleetSpec(1, 7), START + MINUTE)
    assert polls_in(tmp_path)[0].at < START - 23 * 60 * MINUTE


def test_what_a_killed_process_left_is_made_anew(past_of_none: Path, tmp_path: Path) -> None:
    copytree(past_of_none, tmp_path, dirs_exist_ok=True)
    for path in day_paths(tmp_path)[1:]:
        path.unlink()
    (tmp_path / "demo-past").write_text(day_paths(tmp_path)[0].name.removesuffix(".sqlite"))
    assert write_past(tmp_path, FleetSpec(0, 7), START)
    assert len(day_paths(tmp_path)) == 2


def test_nothing_is_written_while_another_process_records(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert lock.take()
    assert not write_past(tmp_path, FleetSpec(1, 7), START)
    lock.release()
    assert day_paths(tmp_path) == []


def test_a_very_large_fleet_has_no_past(tmp_path: Path) -> None:
    assert not write_past(tmp_path, FleetSpec(LARGEST + 1, 7), START)


def test_its_process_makes_it_and_says_why_it_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "history" / "demo@demo-0-7"
    DemoPast(folder, FleetSpec(0, 7), START).make()
    assert len(day_paths(folder)) == 2
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"[Nn]ot a directory"):
        DemoPast(tmp_path / "file" / "folder", FleetSpec(0, 7), START).make()


def test_its_process_gives_up_when_it_is_closed(tmp_path: Path) -> None:
    past = DemoPast(tmp_path, FleetSpec(400, 7), START)
    with ThreadPoolExecutor() as pool:
        making = pool.submit(past.make)
        while not (tmp_path / "demo-past").exists():
            wait([making], timeout=0.01)
        past.close()
        assert making.result() is None
    assert day_paths(tmp_path) == []
    past.make()  # too late
    assert day_paths(tmp_path) == []


def test_the_dashboard_reads_it_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    settings = demo_settings(Options())
    credentials = Credentials(key=SecretStr("key"), base_url="http://demo", origin="a test")
    profiles = Profiles({NO_PROFILE: SelectedProfile(credentials, settings)})
    past = DemoPast(history_folder_for("demo-0-7", settings), FleetSpec(0, 7), START)
    history = history_for(profiles, Options(), print, demo=DemoHistory("demo-0-7", past))
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(history.pasts[NO_PROFILE].polls, WallMs(0), WallMs(START))
        wait([reading], timeout=0.2)
        past.make()
        assert len(reading.result()) == len([*steps(FleetSpec(0, 7), START, 0)])


def test_a_past_that_is_given_up_is_not_waited_for(tmp_path: Path) -> None:
    past = DemoPast(tmp_path, FleetSpec(0, 7), START)
    past.close()
    past.wait()


def report(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = programs.run(
        [sys.executable, "-m", "envwatch", "report", "--profile", "demo", *arguments], environment(home)
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_newest_demo_is_read_under_the_name_of_a_profile_unless_the_configuration_has_that(tmp_path: Path) -> None:
    assert report(tmp_path) == (1, "", "envwatch: no demo has been recorded; `envwatch demo` records itself\n")
    state_folder = tmp_path / ".local/state/envwatch"
    for size in (0, 1):
        folder = history_folder(state_folder, "demo", f"demo-{size}-7")
        write_past(folder, FleetSpec(size, 7), int(time.time() * 1000))
    code, output, _ = report(tmp_path, "--since", "24h")
    assert code == 0
    assert output.startswith("# envwatch: `demo` on `demo-1-7`\n")
    assert "envwatch did not run" in output
    config = tmp_path / "config.toml"
    config.write_text('[profiles.demo]\nbase_url = "https://letta.example.com"\n')
    code, _, messages = report(tmp_path, "--config", str(config))
    assert code == 1
    assert "nothing was recorded of profile demo on letta.example.com" in messages
