"""The demo's past: how a shipped day gets into the history."""

from __future__ import annotations

import sys
import time
from shutil import copytree
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.exact import exact
from support.pty_terminal import environment

from envwatch.cli.demo_past import moved_day, write_past
from envwatch.cli.demo_settings import earlier_start
from envwatch.demo.scenarios import DAY_MS
from envwatch.files import ProcessLock
from envwatch.history.stored import LOCK, Retention, StoredPast, day_paths, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.model.outcome import RecordedPoll

START = 1_764_000_000_000
MINUTE = 60_000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history of a demo with its day before, to be read or copied."""
    folder = tmp_path_factory.mktemp("past") / "demo@demo-40-7"
    assert write_past(folder, "default", START)
    return folder


def polls_in(folder: Path, since: float = 0, until: float = START + DAY_MS) -> list[RecordedPoll]:
    return [*StoredPast(folder).polls(WallMs(since), WallMs(until))]


def test_what_is_written_can_be_read_and_is_written_once(written: Path, tmp_path: Path) -> None:
    folder = copytree(written, tmp_path / written.name)
    expected = [*moved_day("default", START)]
    polls = polls_in(folder)
    assert [poll.at for poll in polls] == [poll.moment.now.wall for poll in expected]
    assert len({poll.run for poll in polls}) == 2
    for place in (0, 777, -1):
        assert exact(StoredPast(folder).moment(polls[place])) == exact(expected[place].moment)
    assert sorted(path.suffix for path in folder.iterdir()) == ["", "", ".sqlite", ".sqlite"]
    assert not write_past(folder, "default", START)
    later = START + 20 * 60 * MINUTE  # the newest poll is of the day before that
    assert not write_past(folder, "default", later)
    assert polls_in(folder) == polls


def test_a_later_day_without_any_poll_is_written_after_what_is_there(written: Path, tmp_path: Path) -> None:
    folder = copytree(written, tmp_path / written.name)
    before = polls_in(folder)
    assert write_past(folder, "default", START + DAY_MS)  # the file of the day of START stays
    after = polls_in(folder, until=START + 2 * DAY_MS)
    assert after[: len(before)] == before
    midnight = (START // DAY_MS + 1) * DAY_MS
    assert 0 <= after[len(before)].at - midnight < 2 * MINUTE
    assert [poll.number for poll in after] == [*range(1, len(after) + 1)]


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "demo@demo-40-7"
    unfinished = FolderWriter(folder / folder.name, Retention())
    poll = next(moved_day("default", START - MINUTE))
    unfinished.write(poll.moment, poll.result)
    unfinished.close()
    assert polls_in(folder) == []
    assert write_past(folder, "default", START)
    assert len(polls_in(folder)) == 1_120
    assert not (folder / folder.name).exists()


def test_nothing_is_written_while_another_process_records(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / LOCK)
    assert lock.acquire()
    assert not write_past(tmp_path, "default", START)
    lock.release()
    assert day_paths(tmp_path) == []
    assert earlier_start(tmp_path, START) is None


def test_of_a_fleet_without_a_day_only_the_start_is_noted(tmp_path: Path) -> None:
    assert not write_past(tmp_path, None, START)
    assert day_paths(tmp_path) == []
    assert earlier_start(tmp_path, START) == START


@pytest.mark.parametrize(
    ("noted", "after", "expected"),
    [
        (str(START), 0, START),
        (str(START), DAY_MS - 1, START),
        (str(START), DAY_MS, None),
        (str(START), -1, None),
        ("no number", 0, None),
    ],
)
def test_the_start_of_an_earlier_demo_counts_for_24_hours(
    tmp_path: Path, noted: str, after: int, expected: int | None
) -> None:
    (tmp_path / "demo-start").write_text(noted)
    assert earlier_start(tmp_path, START + after) == expected


def report(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = programs.run(
        [sys.executable, "-m", "envwatch", "report", "--profile", "demo", *arguments], environment(home)
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_newest_demo_is_read_under_the_name_of_a_profile_unless_the_configuration_has_that(tmp_path: Path) -> None:
    assert report(tmp_path) == (1, "", "envwatch: there is no recorded demo: run `envwatch demo` first\n")
    state_folder = tmp_path / ".local/state/envwatch"
    for host, day in (("demo-40-7", "default"), ("demo-40-7-calm", "scenarios")):
        folder = history_folder(state_folder, "demo", host)
        write_past(folder, day, int(time.time() * 1000))
    code, output, _ = report(tmp_path, "--since", "24h")
    assert code == 0
    assert output.startswith("# envwatch: `demo` on `demo-40-7-calm`\n")
    assert "envwatch did not run" in output
    config = tmp_path / "config.toml"
    config.write_text('[profiles.demo]\nbase_url = "https://letta.example.com"\n')
    code, _, messages = report(tmp_path, "--config", str(config))
    assert code == 1
    assert "nothing was recorded of profile demo on letta.example.com" in messages
