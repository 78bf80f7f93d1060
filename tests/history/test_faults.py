"""A history after a kill, truncated files, or failing writes."""

from __future__ import annotations

import os
import random
import shutil
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import programs
from support.builders import NOW
from support.memory_history import MemoryHistory, recorded
from support.pty_terminal import ROOT, environment
from support.recording import ALWAYS, content, life, record
from support.rights import folder_for_anyone, without_rights
from support.values import exact

from envwatch.history.day_reader import DayReader
from envwatch.history.past import HistoryError, events_of
from envwatch.history.stored import Retention, StoredPast, day_paths
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment
    from envwatch.model.outcome import RecordedPoll

TODAY = "2025-10-09.sqlite"
PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "support" / "recording.py"))
POLLS = 60
"""Of each killed process."""


def killed(folder: Path, at: float, after: int) -> int:
    """Kill a recording program after `after` polls; return the number of polls reported as written."""
    reading, writing = os.pipe()
    with Path(os.devnull).open("r+b") as null, os.fdopen(reading, "rb") as lines:
        streams = (null.fileno(), writing, null.fileno())
        command = (*PROGRAM, str(folder), str(at), str(POLLS))
        process = programs.start(
            command, environment(folder, PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}"), streams, folder=folder
        )
        os.close(writing)
        for _ in range(after):
            lines.readline()
        process.kill()
        process.wait(programs.TIMEOUT_S)
        return after + len(lines.readlines())


@pytest.mark.slow
@pytest.mark.parametrize("kills", [5, pytest.param(POLLS, marks=pytest.mark.slow)])
def test_killed_processes_lose_at_most_the_poll_in_flight_each(tmp_path: Path, kills: int) -> None:
    chance, history, past = random.Random(kills), MemoryHistory(), StoredPast(tmp_path)
    for at in range(int(NOW), int(NOW) + kills * 400_000, 400_000):
        written = killed(tmp_path, at, chance.randrange(POLLS))
        found = len(past.polls(WallMs(at), WallMs(at + 300_000)))
        assert written <= found <= written + 1
        if found:
            recorded(life(found, at), history)
    assert exact(content(past)) == exact(content(history))
    with closing(DayReader(day_paths(tmp_path)[0])) as reader:
        reader.quick_check()


class Recorded:
    def __init__(self, folder: Path, polls: list[RecordedPoll], moments: list[Moment], events: list[Event]) -> None:
        self.folder = folder
        self.polls = polls
        self.moments = moments
        self.events = events


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recorded]]:
    found, writers = {}, []
    for name, count in (("ended", 130), ("killed early", 20), ("killed later", 130)):
        folder = tmp_path_factory.mktemp("folder")
        writer = FolderWriter(folder, Retention())
        history = record(writer, life(count, rows=6))
        if name == "ended":
            writer.close()
        else:
            writers.append(writer)  # while the writer is open, the newest polls are next to the file
        found[name] = Recorded(folder, *content(history))
    yield found
    for writer in writers:
        writer.close()


def is_prefix(past: StoredPast, recorded: Recorded) -> bool:
    try:
        polls, moments, events = content(past)
    except HistoryError:
        with suppress(HistoryError):
            assert not past.polls(*ALWAYS), "a poll without its moment"
        return True
    are_polls = polls == recorded.polls[: len(polls)]
    return are_polls and moments == recorded.moments[: len(polls)] and events == recorded.events[: len(events)]


NEW = life(3, NOW + 3_600_000)
SUFFIXES = {"ended": [""], "killed early": ["", "-wal", "-shm"], "killed later": ["", "-wal", "-shm"]}


PLACES = st.sampled_from([(name, suffix) for name, suffixes in SUFFIXES.items() for suffix in suffixes])


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    with TemporaryDirectory() as name:
        for path in folder.iterdir():
            shutil.copy(path, name)
        yield Path(name)


@given(PLACES, st.floats(0, 1), st.booleans())
def test_of_a_file_cut_at_any_byte_a_prefix_is_read_and_recording_goes_on(
    folders: dict[str, Recorded],
    place: tuple[str, str],
    part: float,
    is_between_pages: bool,  # noqa: FBT001
) -> None:
    recorded = folders[place[0]]
    with copied(recorded.folder) as folder:
        path = folder / f"{TODAY}{place[1]}"
        size = int(path.stat().st_size * part)
        os.truncate(path, size // 16_384 * 16_384 if is_between_pages else size)
        assert is_prefix(StoredPast(folder), recorded)
        goes_on(folder, recorded)


def test_of_a_file_cut_near_its_end_most_is_read(folders: dict[str, Recorded]) -> None:
    recorded = folders["ended"]
    with copied(recorded.folder) as folder:
        path = folder / TODAY
        whole = path.stat().st_size
        for size in range(whole - 1, whole - 40_000, -2_503):
            os.truncate(path, size)
            assert is_prefix(StoredPast(folder), recorded), size
            if size > whole - 16_384:
                assert len(StoredPast(folder).polls(*ALWAYS)) > 100


def goes_on(folder: Path, recorded: Recorded) -> None:
    notes: list[str] = []
    writer = FolderWriter(folder, Retention(), note=notes.append)
    history = record(writer, NEW)
    writer.close()
    _, moments, events = content(StoredPast(folder))
    _, new, new_events = content(history)
    assert moments[-3:] == new
    assert events[len(events) - len(new_events) :] == new_events
    left = len(moments) - 3
    assert moments[:left] == recorded.moments[:left]
    assert not (notes and left)
    assert not [*folder.glob("*-wal"), *folder.glob("*-shm")] or notes


@given(PLACES, st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=200)), min_size=1, max_size=4))
def test_changed_bytes_are_an_error_or_leave_recorded_moments(
    folders: dict[str, Recorded], place: tuple[str, str], changes: list[tuple[float, bytes]]
) -> None:
    recorded = folders[place[0]]
    with copied(recorded.folder) as folder:
        path = folder / f"{TODAY}{place[1]}"
        size = path.stat().st_size
        with path.open("r+b") as file:
            for part, change in changes:
                file.seek(int(part * size))
                file.write(change)
        past = StoredPast(folder)
        with suppress(HistoryError):
            for poll in past.polls(*ALWAYS):
                with suppress(HistoryError):
                    assert past.moment(poll) in recorded.moments
            events_of(past.steps(*ALWAYS))
        writer = FolderWriter(folder, Retention())
        history = record(writer, NEW)
        writer.close()
        new = past.polls(*ALWAYS)[-3:]
        assert [*map(past.moment, new)] == content(history)[1]


@given(st.binary(max_size=70_000), st.sampled_from(["", "-wal", "-shm"]))
def test_no_content_of_a_file_is_a_crash(content_: bytes, suffix: str) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{TODAY}{suffix}").write_bytes(content_)
        with suppress(HistoryError):
            assert StoredPast(folder).polls(*ALWAYS) == []
        writer = FolderWriter(folder, Retention())
        history = record(writer, NEW)
        writer.close()
        assert content(StoredPast(folder)) == content(history)


@pytest.mark.parametrize("lacking", ["", "-shm", "-wal"])
@pytest.mark.parametrize("name", ["ended", "killed later"])
def test_a_read_only_folder_is_read(folders: dict[str, Recorded], name: str, lacking: str) -> None:
    recorded = folders[name]
    with folder_for_anyone() as folder:
        for path in recorded.folder.iterdir():
            if not lacking or not path.name.endswith(lacking):
                shutil.copy(path, folder)
        with without_rights(folder):
            _, moments, events = content(StoredPast(folder))
        assert moments == recorded.moments[: len(moments)]
        assert events == recorded.events[: len(events)]
        is_partial = lacking == "-wal" and name == "killed later"
        assert len(moments) == len(recorded.moments) or (is_partial and len(moments) > 80)
