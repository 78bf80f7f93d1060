"""The writer: places and processes of writes; damaged, newer, oversized and missing files."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, listed
from support.memory_history import recorded
from support.recording import ALWAYS, DAY, content, kinds, life, record
from support.values import exact

from envwatch.fleet.events import Kind
from envwatch.history.day_reader import DayReader
from envwatch.history.encoding.frames import FORMAT_VERSION, FrameKind
from envwatch.history.past import HistoryError, events_of
from envwatch.history.stored import Retention, StoredPast, day_paths
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from support.memory_history import MemoryHistory

    from envwatch.model.outcome import Outcome

TODAY = "2025-10-09.sqlite"


def recorded_in(folder: Path, outcomes: Iterable[Outcome], **settings: int) -> MemoryHistory:
    """Record a run, and return the same history in memory."""
    writer = FolderWriter(folder, Retention(**settings))
    history = record(writer, outcomes)
    writer.close()
    return history


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def numbers(folder: Path) -> list[int]:
    return [poll.number for poll in StoredPast(folder).polls(*ALWAYS)]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_all_files_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    folder, before = tmp_path / "history" / "work@host", os.umask(umask)
    try:
        writer = FolderWriter(folder, Retention())
        record(writer, life(3))
        assert {path.name: mode(path) for path in folder.iterdir()} == dict.fromkeys(
            (TODAY, f"{TODAY}-wal", f"{TODAY}-shm", "lock"), 0o600
        )
        assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
        writer.close()
    finally:
        os.umask(before)


def test_a_file_notes_its_origin_and_a_failed_poll_its_cause(tmp_path: Path) -> None:
    folder = tmp_path / "my%20work@127.0.0.1:8283"
    recorded_in(folder, [failed()])
    with closing(DayReader(folder / TODAY)) as reader:
        assert reader.about().items() >= {"profile": "my work", "host": "127.0.0.1:8283"}.items()
        reader.quick_check()
    with closing(sqlite3.connect(folder / TODAY)) as connection:
        assert connection.execute("SELECT result, cause FROM polls").fetchall() == [("failed", "timeout: timeout")]


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_no_link_is_followed_and_nothing_is_written_beyond(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    (tmp_path / f"{TODAY}{suffix}").symlink_to(target)
    with pytest.raises((OSError, sqlite3.Error), match=r"link|open"):
        recorded_in(tmp_path, life(1))
    assert target.read_bytes() == b""


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_and_a_folder_are_neither_opened_nor_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / TODAY)
    with pytest.raises(OSError, match="Not a regular file"):
        recorded_in(tmp_path, life(1))
    assert not (tmp_path / TODAY).is_file()
    with pytest.raises(HistoryError, match="Not a regular file"):
        StoredPast(tmp_path).polls(*ALWAYS)


def test_numbers_go_on_over_runs_and_where_the_newest_day_is_not_the_last(tmp_path: Path) -> None:
    for count, at in ((3, NOW), (2, NOW + 2 * DAY), (4, NOW + DAY), (1, NOW)):
        recorded_in(tmp_path, life(count, at))
    assert sorted(numbers(tmp_path)) == list(range(1, 11))
    polls = {poll.number: poll.run for poll in StoredPast(tmp_path).polls(*ALWAYS)}
    assert [polls[number] for number in sorted(polls)] == [1, 1, 1, 4, 4, 6, 6, 6, 6, 10]


def _as_another_program_has_it(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE polls (number)")
    connection.close()


def _with_a_damaged_name(path: Path) -> None:
    content_ = path.read_bytes()
    path.write_bytes(content_.replace(b"    number INTEGER", b"    nAmber INTEGER", 1))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda path: path.write_bytes(b"\x00\x01garbage" * 4000),
    "cut in the first page": lambda path: os.truncate(path, 5000),
    "without its last byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "another program's database": _as_another_program_has_it,
    "the name of a column": _with_a_damaged_name,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_day_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    recorded_in(tmp_path, life(12))
    DAMAGES[damage](tmp_path / TODAY)
    damaged = (tmp_path / TODAY).read_bytes()
    notes: list[str] = []
    writer = FolderWriter(tmp_path, Retention(), note=notes.append)
    history = record(writer, life(5, NOW + 60_000))
    writer.close()
    _, moments, events = content(StoredPast(tmp_path))
    assert exact((moments, events)) == exact(content(history)[1:])
    assert (tmp_path / f"{TODAY}.aside").read_bytes() == damaged
    assert mode(tmp_path / f"{TODAY}.aside") == 0o600
    assert notes == [
        f"a damaged day of the history was set aside, and a new one begun ({tmp_path / TODAY}.aside)",
    ]


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, 99])
def test_a_day_of_another_version_is_set_aside_with_one_line(tmp_path: Path, version: int) -> None:
    recorded_in(tmp_path, life(3))
    connection = sqlite3.connect(tmp_path / TODAY)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = (tmp_path / TODAY).read_bytes()
    notes: list[str] = []
    writer = FolderWriter(tmp_path, Retention(), note=notes.append)
    history = record(writer, life(5, NOW + 60_000))
    writer.close()
    aside = tmp_path / f"{TODAY}.aside"
    assert exact(content(StoredPast(tmp_path))[1:]) == exact(content(history)[1:])
    assert aside.read_bytes() == before
    assert notes == [f"a day of another version of envwatch was set aside, and a new one begun ({aside})"]


def test_a_day_deleted_under_the_writer_is_begun_anew(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path, Retention())
    record(writer, life(3))
    for path in day_paths(tmp_path):
        path.unlink()
    history = record(writer, life(3, NOW + 60_000))
    writer.close()
    assert numbers(tmp_path) == [4, 5, 6]
    assert content(StoredPast(tmp_path))[1:] == content(history)[1:]


def test_a_day_over_the_limit_alone_is_not_continued(tmp_path: Path) -> None:
    recorded_in(tmp_path, life(3), history_mb=1)
    os.truncate(tmp_path / TODAY, (1 << 20) + 16384)  # whole pages without references
    writer = FolderWriter(tmp_path, Retention(history_mb=1))
    with pytest.raises(HistoryError, match=r"this day alone has reached history_mb = 1; set it higher"):
        record(writer, life(1, NOW + 60_000))
    record(writer, life(2, NOW + DAY))
    writer.close()
    assert numbers(tmp_path)[-2:] == [4, 5]


def test_after_an_error_the_file_is_opened_again_with_its_numbers(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path, Retention())
    record(writer, life(2))
    connection = sqlite3.connect(tmp_path / TODAY)
    with connection:  # as a process does whose lock file was deleted
        connection.execute("INSERT INTO polls SELECT 3, at, result, run, interval_s, cause, kind FROM polls LIMIT 1")
        connection.execute("INSERT INTO frames SELECT 3, data FROM frames LIMIT 1")
    connection.close()
    with pytest.raises(sqlite3.IntegrityError):
        record(writer, life(1, NOW + 60_000))
    record(writer, life(2, NOW + 65_000))
    writer.close()
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]
    assert kinds(tmp_path / TODAY)[3:] == [FrameKind.KEY, FrameKind.STEP]


def test_old_days_are_deleted_at_the_first_poll_and_each_hour(tmp_path: Path) -> None:
    old = tmp_path / "2025-09-24.sqlite"
    old.touch()
    writer = FolderWriter(tmp_path, Retention())
    record(writer, life(2))
    assert not old.exists()
    for at, exists in ((NOW + 3_590_000, True), (NOW + 3_600_000, False)):
        old.touch()
        record(writer, [listed(beating(2, at), at)])
        assert old.exists() is exists
    writer.close()


def test_nothing_is_deleted_by_a_clock_ahead_or_before_the_time_of_the_server_is_known(tmp_path: Path) -> None:
    kept, ahead = tmp_path / "2025-09-24.sqlite", 4 * 365 * DAY
    kept.touch()
    writer = FolderWriter(tmp_path, Retention())
    record(writer, [failed(at=NOW + ahead)])
    assert kept.exists()
    record(writer, [listed(beating(2, NOW + 5000), NOW + 5000)])
    assert not kept.exists()
    writer.close()
    kept = tmp_path / "2025-09-25.sqlite"
    kept.touch()
    recorded_in(tmp_path, [listed(beating(2, NOW), NOW, skew=ahead)])
    assert kept.exists()


def test_the_first_listings_of_a_run_have_the_changes_since_the_last_of_the_run_before(tmp_path: Path) -> None:
    """A row needs two listings to be gone."""
    writer = FolderWriter(tmp_path, Retention())
    record(writer, [listed(beating(2)), failed(at=NOW + 15_000)])
    writer.close()
    writer = FolderWriter(tmp_path, Retention())
    later = [listed(beating(1, NOW + DAY + at), NOW + DAY + at) for at in (5_000, 10_000, 15_000)]
    back = listed([environment("env-1", connectionId=None)], NOW + DAY + 20_000)
    record(writer, [failed(at=NOW + DAY), *later, back], is_compared=True)
    writer.close()
    steps = [step for step in StoredPast(tmp_path).steps(WallMs(NOW + DAY - 1), ALWAYS[1]) if step.events]
    assert [(step.at - NOW - DAY, [(event.kind, event.id) for event in step.events]) for step in steps] == [
        (10_000, [(Kind.GONE, "env-2")]),
        (20_000, [(Kind.OFFLINE, "env-1")]),
    ]


def test_the_first_moment_after_a_takeover_is_compared_with_the_last_recorded_moment(tmp_path: Path) -> None:
    first, second = (FolderWriter(tmp_path, Retention()) for _ in range(2))
    history = record(first, [listed(beating(2))])
    assert not second.take()
    first.close()
    assert second.take()
    lost = listed([environment("env-1", connectionId=None), *beating(2, NOW + 10_000)[1:]], NOW + 10_000)
    outcomes = [listed(beating(2)), listed(beating(2, NOW + 5_000), NOW + 5_000), lost]
    later = recorded(outcomes).polls(*ALWAYS)[2]
    moment = recorded(outcomes).moment(later)
    second.write(moment, later.result, (), lost)
    second.close()
    assert moment.profile_state.listings == 3
    assert [poll.run for poll in StoredPast(tmp_path).polls(*ALWAYS)] == [1, 2]
    assert content(StoredPast(tmp_path))[1] == [*content(history)[1], moment]
    assert [(event.kind, event.id) for event in events_of(StoredPast(tmp_path).steps(*ALWAYS))] == [
        (Kind.OFFLINE, "env-1")
    ]


@pytest.mark.parametrize(("is_back", "found"), [(False, [Kind.OFFLINE]), (True, [])])
def test_a_loss_during_a_pause_of_recording_is_recorded_afterwards(
    tmp_path: Path, *, is_back: bool, found: list[Kind]
) -> None:
    """A return is not recorded without the loss either: the environment would have been down all the time before."""
    up, lost = beating(3), [*beating(2), environment("env-3", connectionId=None)]
    outcomes = [listed(up), listed(lost, NOW + 5000), listed(up if is_back else lost, NOW + 10_000)]
    history = recorded(outcomes)
    first, *_, last = history.polls(*ALWAYS)
    writer = FolderWriter(tmp_path, Retention())
    assert writer.take()
    writer.write(history.moment(first), first.result, (), outcomes[0])
    writer.restart()  # the second poll was left out
    writer.write(history.moment(last), last.result, history.events(last.at, last.at), outcomes[-1])
    writer.close()
    assert [event.kind for event in events_of(StoredPast(tmp_path).steps(*ALWAYS)) if event.id] == found
