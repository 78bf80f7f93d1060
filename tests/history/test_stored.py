"""A recording is read back exactly, in the same process and in others."""

from __future__ import annotations

import gc
import os
import sqlite3
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Final

import pytest
from support.builders import NOW
from support.recording import ALWAYS, DAY, content, kinds, life, record
from support.values import exact

from envwatch.history.day_file import DayFile, Numbers, check_form
from envwatch.history.encoding.frames import FrameKind, MomentBuilder
from envwatch.history.past import GoneError, HistoryError, events_of, left_out_of
from envwatch.history.stored import Retention, StoredPast, day_paths, tidy
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.memory_history import MemoryHistory

MIDNIGHT = NOW // DAY * DAY + DAY


def a_day(folder: Path, polls: int = 12, at: float = NOW, **changes: int) -> tuple[MemoryHistory, StoredPast, Path]:
    """Record a run, and return the same history in memory, the stored past and the file of the first day."""
    writer = FolderWriter(folder, Retention())
    history = record(writer, life(polls, at, **changes))
    writer.close()
    return history, StoredPast(folder), day_paths(folder)[0]


def test_polls_moments_and_events_of_several_runs_and_days_are_read_back_exactly(tmp_path: Path) -> None:
    history = None
    for at in (NOW, MIDNIGHT - 30_000, NOW + 3 * DAY):
        writer = FolderWriter(tmp_path, Retention())
        history = record(writer, life(at=at), history)
        assert exact(content(StoredPast(tmp_path))) == exact(content(history))
        writer.close()
        assert exact(content(StoredPast(tmp_path))) == exact(content(history))
    assert [path.name for path in day_paths(tmp_path)] == [
        "2025-10-09.sqlite",
        "2025-10-10.sqlite",
        "2025-10-12.sqlite",
    ]


def test_each_day_and_each_run_begins_with_a_key(tmp_path: Path) -> None:
    for at in (MIDNIGHT - 15_000, MIDNIGHT + 60_000):
        writer = FolderWriter(tmp_path, Retention())
        record(writer, life(5, at))
        writer.close()
    first, second = (kinds(path) for path in day_paths(tmp_path))
    assert first == [FrameKind.KEY, FrameKind.STEP, FrameKind.STEP]
    assert second == [FrameKind.KEY, FrameKind.STEP, FrameKind.KEY, *[FrameKind.STEP] * 4]


def test_a_clock_set_back_leaves_the_order_of_recording(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path, Retention())
    ahead = life(8, MIDNIGHT + DAY + 1_800_000)
    back = life(8, MIDNIGHT + DAY - 1_800_000)  # of the previous day
    again = life(8, MIDNIGHT + DAY + 1_805_000)
    history = record(writer, [*ahead, *back, *again])
    writer.close()
    past = StoredPast(tmp_path)
    assert exact(content(past)) == exact(content(history))
    assert [poll.number for poll in past.polls(*ALWAYS)] == list(range(1, 25))
    at = [poll.at for poll in past.polls(*ALWAYS)]
    assert at != sorted(at)


def test_every_moment_is_the_same_forward_backward_and_in_leaps(tmp_path: Path) -> None:
    history, past, path = a_day(tmp_path, 270, rows=3)
    polls = past.polls(*ALWAYS)
    assert FrameKind.BRIDGE in kinds(path)
    leaps = (0, 269, 81, 79, 80, 160, 159, 200, 195, 196, 1, 0, 90, 90)
    for order in (range(270), range(269, -1, -1), leaps):
        for index in order:
            assert past.moment(polls[index]) == history.moment(polls[index]), index


def test_a_forgetful_past_keeps_no_rows_and_rebuilds_the_same_moments(tmp_path: Path) -> None:
    history, past, _ = a_day(tmp_path, 20, rows=3)
    polls = past.polls(*ALWAYS)

    def builders() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, MomentBuilder)]

    gc.collect()  # errors of other tests may hold builders
    assert past.moment(polls[15]) == history.moment(polls[15])
    assert builders()
    past.forget()
    assert builders() == []
    assert past.moment(polls[16]) == history.moment(polls[16])


def test_both_ends_of_a_time_are_in_and_the_outside_is_left_out(tmp_path: Path) -> None:
    history, past, _ = a_day(tmp_path)
    at = NOW + 10_000
    for since, until in ((at, at + 30_000), (at + 1, at + 30_000), (at, at + 29_999), (at, at), (at + 1, at + 2)):
        time = (WallMs(since), WallMs(until))
        assert past.polls(*time) == history.polls(*time)
        assert events_of(past.steps(*time)) == history.events(*time)
    assert events_of(past.steps(WallMs(NOW), WallMs(NOW + 30_000)))


def test_no_folder_and_an_empty_one_have_no_past(tmp_path: Path) -> None:
    (tmp_path / "2025-10-09.sqlite").touch()  # just begun
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert content(StoredPast(folder)) == ([], [], [])


def test_unreadable_days_are_left_out_unless_nothing_is_left(tmp_path: Path) -> None:
    history, past, first = a_day(tmp_path, at=MIDNIGHT - 30_000)
    second = day_paths(tmp_path)[1]
    second.write_bytes(b"no database" * 5000)
    assert exact(content(past)[0]) == exact(content(history)[0][:6])
    connection = sqlite3.connect(first)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HistoryError, match=r"another version|damaged"):
        past.polls(*ALWAYS)
    second.unlink()
    with pytest.raises(HistoryError, match="another version of envwatch recorded this day"):
        events_of(past.steps(*ALWAYS))


def set_aside(path: Path) -> None:
    path.rename(f"{path}.aside")


def set_aside_and_begun_anew(path: Path) -> None:
    set_aside(path)
    a_day(path.parent, 2, MIDNIGHT + 3_600_000)


LOST_DAYS: Final[dict[str, tuple[Callable[[Path], object], str, str]]] = {
    "no database": (
        lambda path: path.write_bytes(b"no database" * 5000),
        "the history of 2025-10-10 is left out",
        "it is damaged from its beginning on",
    ),
    "no byte": (lambda path: path.write_bytes(b""), "the history of 2025-10-10 is left out", "the file is empty"),
    "one byte": (lambda path: path.write_bytes(b"S"), "the history of 2025-10-10 is left out", "the file is empty"),
    "set aside": (set_aside, "the history of 2025-10-10 is left out", "it was set aside"),
    "set aside, and a new day begun": (
        set_aside_and_begun_anew,
        "the history from 2025-10-10 00:00:00Z to 2025-10-10 01:00:00Z is left out",
        "it was set aside",
    ),
    "cut": (
        lambda path: os.truncate(path, path.stat().st_size - 1),
        "the history from 2025-10-10 00:00:25Z to 2025-10-11 00:00:00Z is left out",
        "its end is damaged or missing",
    ),
}


@pytest.mark.parametrize("damage", LOST_DAYS)
def test_steps_name_each_unreadable_day(tmp_path: Path, damage: str) -> None:
    history, _, _ = a_day(tmp_path, at=MIDNIGHT - 30_000)
    change, text, reason = LOST_DAYS[damage]
    change(tmp_path / "2025-10-10.sqlite")
    steps = list(StoredPast(tmp_path).steps(*ALWAYS))
    assert [step.poll for step in steps][:6] == history.polls(*ALWAYS)[:6]
    assert [(each.text(), each.reason) for each in left_out_of(steps)] == [(text, reason)]
    assert left_out_of(StoredPast(tmp_path).steps(WallMs(NOW), WallMs(MIDNIGHT - 1))) == []


def test_a_day_deleted_during_reading_is_read_to_its_end(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path, Retention())
    history = record(writer, life(12, MIDNIGHT - 30_000))
    past = StoredPast(tmp_path)
    polls = past.polls(*ALWAYS)
    moments = past.moments(polls)
    assert next(moments) == history.moment(polls[0])
    first, second = day_paths(tmp_path)
    tidy(tmp_path, Retention(history_days=1), date(2025, 10, 11))
    assert not first.exists()
    assert second.exists()
    assert list(moments) == [history.moment(poll) for poll in polls[1:]]
    with pytest.raises(GoneError, match="no longer there"):
        past.moment(polls[0])
    assert past.polls(*ALWAYS) == polls[6:]
    writer.close()


def changed(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_senseless_poll_and_event_are_left_out_alone(tmp_path: Path) -> None:
    history, past, path = a_day(tmp_path)
    changed(
        path,
        "UPDATE polls SET result = 'slipped' WHERE number = 4",
        "UPDATE polls SET result = CAST(x'ff00' AS TEXT) WHERE number = 7",
        "UPDATE events SET data = x'00' WHERE number = 2",
        "UPDATE events SET at = 'noon' WHERE number = 3",
    )
    polls, events = content(history)[0], content(history)[2]
    assert past.polls(*ALWAYS) == [poll for poll in polls if poll.number not in {4, 7}]
    assert events_of(past.steps(*ALWAYS)) == [events[0], *events[3:]]
    odd = ("run = 'x'", "interval_s = 'x'", "interval_s = 1e999", "interval_s = -1.0", "at = x'00'", "at = 1e300")
    for number, change in enumerate(odd, 1):
        changed(path, f"UPDATE polls SET {change} WHERE number = {number}")
    assert past.polls(*ALWAYS) == [poll for poll in polls if poll.number > 7]
    assert past.last_listing() == next(poll for poll in reversed(polls) if poll.result is PollResult.LISTED)
    changed(path, "UPDATE events SET poll = 'x' WHERE number = 4", "UPDATE events SET at = 1e999 WHERE number = 5")
    assert events_of(past.steps(*ALWAYS)) == [events[0], *events[5:]]
    assert [event for step in past.steps(*ALWAYS) for event in step.events] == [events[0], *events[5:]]
    assert [(each.what, each.count) for each in left_out_of(past.steps(*ALWAYS))] == [("poll", 7), ("event", 4)]
    changed(path, "UPDATE frames SET data = 'x' WHERE number = 12")
    with pytest.raises(HistoryError, match="damaged"):
        past.moment(past.polls(*ALWAYS)[-1])
    changed(path, "UPDATE polls SET run = 'x' WHERE number >= 7")
    assert past.last_listing() is None


def test_after_an_unreadable_frame_others_are_right(tmp_path: Path) -> None:
    history, past, path = a_day(tmp_path)
    polls = past.polls(*ALWAYS)
    assert past.moment(polls[10]) == history.moment(polls[10])
    changed(path, "DELETE FROM frames WHERE number = 12")
    with pytest.raises(HistoryError, match="no longer there"):
        past.moment(polls[11])
    changed(path, "UPDATE frames SET data = x'00' WHERE number = 8")
    for number in (6, 7, 8, 7, 8, 6, 9, 10, 11, 12, 5):
        if number <= 7:
            assert past.moment(polls[number - 1]) == history.moment(polls[number - 1])
        else:
            with pytest.raises(HistoryError):
                past.moment(polls[number - 1])
    changed(path, f"UPDATE polls SET kind = {FrameKind.KEY} WHERE number = 4")
    with pytest.raises(HistoryError, match="the frame before it is missing"):
        StoredPast(tmp_path).moment(polls[3])


def test_a_slow_reader_keeps_nothing_from_being_merged(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path, Retention())
    history = record(writer, life(12))
    (path,) = day_paths(tmp_path)
    past = StoredPast(tmp_path)
    moments = past.moments(past.polls(*ALWAYS))
    first = next(moments)
    writer.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0
    assert [first, *moments] == content(history)[1]
    assert exact(content(past)) == exact(content(history))


def test_reading_leaves_nothing_behind_and_changes_nothing(tmp_path: Path) -> None:
    a_day(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    content(StoredPast(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize("statement", range(6))
def test_a_file_begun_by_another_process_meanwhile_is_not_damaged(tmp_path: Path, statement: int) -> None:
    path = tmp_path / "2025-10-09.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    seen = list[str]()

    def begin(text: str) -> None:
        seen.append(text)
        if len(seen) == statement + 1:
            DayFile(path, {}, Numbers(1, 1)).close()

    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.set_trace_callback(begin)
        check_form(reader)
        reader.set_trace_callback(None)
        DayFile(path, {}, Numbers(1, 1)).close()
        assert check_form(reader)
