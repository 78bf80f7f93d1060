"""A recording returns the written steps, or the first steps."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sqlite3
import stat
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.lives import PLAIN_TEXTS, plain_life
from support.recording import content, life, record
from support.rights import folder_for_anyone, without_rights
from support.values import MARK, exact, marked

from envwatch.fleet.events import Event, Kind
from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.history.encoding.packing import unpacked
from envwatch.history.past import About, HistoryError, Moment, RecordedStep, events_of
from envwatch.history.recording import RecordingWriter
from envwatch.history.redaction import Redaction
from envwatch.history.stored import RecordedFile, Retention, day_paths, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

ABOUT: Final = About(profile=clean("prod"), base_url=clean("https://api.letta.com"), version=clean("1.0"))
ALWAYS: Final = (WallMs(0), WallMs(NOW * 2))
BLIND: Final = Event(kind=Kind.BLIND, at=NOW, reason=clean("timeout"))

LIFE: Final = plain_life()


def write(path: Path, steps: Iterable[tuple[Moment, PollResult, tuple[Event, ...]]]) -> bytes:
    with closing(RecordingWriter(path, ABOUT)) as writer:
        for moment, result, events in steps:
            writer.write(moment, result, events)
    return path.read_bytes()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("life") / "life.rec", LIFE.steps)


def test_moments_and_events_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write(path, LIFE.steps)
    with closing(RecordedFile(path)) as file:
        polls = file.polls(*ALWAYS)
        assert file.about == ABOUT
        assert not file.is_cut
        assert [moment.now.wall for moment in LIFE.moments] == [poll.at for poll in polls]
        assert [result for _, result, _ in LIFE.steps] == [poll.result for poll in polls]
        assert [exact(moment) for moment in map(file.moment, polls)] == [exact(moment) for moment in LIFE.moments]
        assert exact(list(events_of(file.steps(*ALWAYS)))) == exact(LIFE.events)
        assert [list(step.events) for step in file.steps()] == [list(events) for _, _, events in LIFE.steps]


@given(st.lists(st.integers(0, len(LIFE.steps) - 1), max_size=30))
def test_moments_come_back_in_any_order(order: list[int]) -> None:
    with closing(RecordedFile(PATHS["life"])) as file:
        polls = file.polls(*ALWAYS)
        for index in order:
            assert file.moment(polls[index]) == LIFE.moments[index]


def with_interval(moment: Moment, interval_s: float) -> Moment:
    return replace(moment, profile_state=replace(moment.profile_state, interval=timedelta(seconds=interval_s)))


def test_runs_and_events_without_a_poll_keep_their_places(tmp_path: Path) -> None:
    (first, result, _), path = LIFE.steps[0], tmp_path / "a.rec"
    with closing(RecordingWriter(path, ABOUT)) as writer:
        writer.write_events(WallMs(1), [BLIND])
        writer.write(first, result)
        writer.start_run()
        writer.write(with_interval(first, 6.0), result)
        writer.write(with_interval(first, 6.0), PollResult.FAILED)
        writer.write_events(WallMs(2), [BLIND, BLIND])
        assert (writer.polls, writer.size) == (3, path.stat().st_size)
    at = first.now.wall
    polls = [
        RecordedPoll(1, at, result, 1, 5.0),
        RecordedPoll(2, at, result, 2, 6.0),
        RecordedPoll(3, at, PollResult.FAILED, 2, 6.0),
    ]
    with closing(RecordedFile(path)) as file:
        assert list(file.steps()) == [
            RecordedStep(WallMs(1), None, [BLIND]),
            *[RecordedStep(at, poll, []) for poll in polls],
            RecordedStep(WallMs(2), None, [BLIND, BLIND]),
        ]
        assert file.polls(at, at) == polls
        assert file.polls(WallMs(at + 1), WallMs(at + 9)) == []
        assert events_of(file.steps(WallMs(2), WallMs(2))) == [BLIND, BLIND]
        with pytest.raises(HistoryError):
            file.moment(RecordedPoll(4, at, result, 2, 6.0))


def test_each_poll_can_be_read_at_once_and_nothing_stands_next_to_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with closing(RecordingWriter(path, ABOUT)) as writer:
        for count, (moment, result, events) in enumerate(LIFE.steps):
            with closing(RecordedFile(path)) as file:
                assert len(file.polls()) == count
            writer.write(moment, result, events)
            assert [*tmp_path.iterdir()] == [path]


def read(path: Path) -> tuple[list[Moment], list[Event], bool]:
    with closing(RecordedFile(path)) as file:
        return list(map(file.moment, file.polls())), list(events_of(file.steps(*ALWAYS))), file.is_cut


def is_prefix(path: Path, moments: list[Moment], events: list[Event]) -> bool:
    """Whether what can be read is what was recorded first, which may be nothing at all."""
    try:
        found, found_events, _ = read(path)
    except HistoryError:
        return True
    return found == moments[: len(found)] and found_events == events[: len(found_events)]


def long_recording(path: Path, lives: int = 12) -> tuple[list[Moment], list[Event]]:
    """Write many lives after each other; return their moments and events."""
    steps = [step for number in range(lives) for step in plain_life(NOW + number * 600_000).steps]
    write(path, steps)
    return [moment for moment, _, _ in steps], [event for _, _, events in steps for event in events]


def test_a_cut_file_loses_its_end_alone_and_says_so(tmp_path: Path) -> None:
    """test_faults.py cuts the file of a day, which is a recording, at any byte."""
    path = tmp_path / "a.rec"
    moments, events = long_recording(path)
    whole = path.stat().st_size
    for length in (whole - 1, whole - 9_001, whole // 2):
        os.truncate(path, length)
        assert is_prefix(path, moments, events), length
        if length > whole - 16_384:
            found, found_events, is_cut = read(path)
            assert len(found) > len(moments) - 100
            assert len(found_events) > len(events) // 2
            assert is_cut
    path.unlink()
    os.truncate(path, len(write(path, LIFE.steps)) - 10)
    assert read(path) == (LIFE.moments, [], True)


def test_a_file_without_numbers_of_events_is_refused_as_damaged() -> None:
    path = PATHS["life"].with_name("damaged.rec")
    damaged = PATHS["life"].read_bytes().replace(b"number INTEGER PRIMARY KEY", b"number INTEGER PRIMARY_KEY")
    path.write_bytes(damaged)
    with pytest.raises(HistoryError, match="damaged"):
        RecordedFile(path)


@given(st.data())
def test_damage_anywhere_is_refused_or_leaves_recorded_moments(data: st.DataObject) -> None:
    whole = PATHS["life"].read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=40))
    path = PATHS["life"].with_name("damaged.rec")
    path.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
    with suppress(HistoryError), closing(RecordedFile(path)) as file:
        for poll in file.polls():
            with suppress(HistoryError):
                assert file.moment(poll) in LIFE.moments
        events_of(file.steps())


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_kill_within_a_commit_loses_this_commit_alone(is_writable: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    with closing(RecordingWriter(path, ABOUT)) as writer, folder_for_anyone() as folder:
        for step in LIFE.steps:
            writer.write(step[0], step[1], step[2])
        connection = writer._file._connection  # noqa: SLF001  as far as a commit comes
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        for number in range(100, 400):
            connection.execute("INSERT INTO frames VALUES (?, ?)", (number, b"x" * 9_000))
        for each in tmp_path.iterdir():
            shutil.copy(each, folder)
        connection.execute("ROLLBACK")
        left = folder / path.name
        assert {each.name for each in folder.iterdir()} == {"a.rec", "a.rec-journal"}
        assert left.stat().st_size > path.stat().st_size
        with nullcontext() if is_writable else without_rights(folder):
            found, found_events, is_cut = read(left)
        if is_writable:
            assert (found, found_events, is_cut) == (LIFE.moments, LIFE.events, False)
            assert [*folder.iterdir()] == [left]
        else:
            assert found == LIFE.moments[: len(found)]
        writer.write(moment, result, events)


def test_a_copy_of_a_day_is_a_recording(tmp_path: Path) -> None:
    folder = history_folder(tmp_path, "prod", "letta.example:8443")
    writer = FolderWriter(folder, Retention())
    history = record(writer, life(8))
    writer.close()
    (day,) = day_paths(folder)
    path = Path(shutil.copy(day, tmp_path / "night.rec"))
    with closing(RecordedFile(path)) as file:
        assert content(file) == content(history)
        assert (file.about.profile, file.about.base_url) == ("prod", "https://letta.example:8443")


@pytest.mark.parametrize(
    ("at", "interval_s"), [(math.inf, None), (-1.0, None), (1e300, None), (None, -1.0), (None, 1.1e9)]
)
def test_a_poll_at_an_impossible_time_or_interval_is_left_out(
    at: float | None, interval_s: float | None, tmp_path: Path
) -> None:
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    odd = moment if interval_s is None else with_interval(moment, interval_s)
    with closing(RecordingWriter(path, ABOUT)) as writer:
        if at is not None:
            writer.write_events(WallMs(at), [BLIND])
            odd = replace(odd, now=moment.now._replace(wall=WallMs(at)))
        writer.write(odd, result, events if interval_s is None else ())
        writer.start_run()
        writer.write(moment, result, events)
    assert read(path) == ([moment], list(events), False)


PATHS: Final[dict[str, Path]] = {}


@pytest.fixture(autouse=True, scope="module")
def life_path(tmp_path_factory: pytest.TempPathFactory, recording: bytes) -> None:
    """Keep the file for property tests, which take no function-scoped fixture."""
    PATHS["life"] = tmp_path_factory.mktemp("properties") / "life.rec"
    PATHS["life"].write_bytes(recording)


def _of_version(version: int) -> bytes:
    """Return the head of a recording of a version."""
    head = b"SQLite format 3\0".ljust(60, b"\0") + version.to_bytes(4, "big")
    return (head.ljust(68, b"\0") + b"envw").ljust(16_384, b"\0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (content, "it is no recording of envwatch")
            for content in (b"", b"SQLite format 3\0", b"SQLite format 3\0".ljust(16_384, b"\0"))
        ),
        (b"envwatch recording 1\n", "it is a recording of another version of envwatch, which cannot be read"),
        (_of_version(FORMAT_VERSION - 1), "it is a recording of another version of envwatch, which cannot be read"),
        (_of_version(FORMAT_VERSION + 1), "it is a recording of another version of envwatch, which cannot be read"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=f"^{message}$"):
        RecordedFile(path)
    os.mkfifo(tmp_path / "pipe")
    for other, why in (("none", "No such file or directory"), (".", "Is a directory"), ("pipe", "Not a regular file")):
        with pytest.raises(HistoryError, match=f"^{why}$"):
            RecordedFile(tmp_path / other)


def test_a_recording_is_private_and_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    before = os.umask(0)
    try:
        write(path, LIFE.steps[:1])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        RecordingWriter(path, ABOUT)
    assert read(path)[0] == LIFE.moments[:1]


def test_a_full_disk_costs_the_poll_in_flight_alone(tmp_path: Path) -> None:
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(RecordingWriter(path, ABOUT)) as writer:
        writer.write(moment, result, events)
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(OSError, match="disk I/O error"):  # noqa: PT012  until the file has to grow
                while True:
                    writer.write(moment, result, events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (path.stat().st_size, [*tmp_path.iterdir()]) == (size, [path])
        writer.write(moment, result, events)
        count = writer.polls
    assert read(path) == ([moment] * count, [*events] * count, False)


def test_no_text_of_others_is_in_the_bytes_of_a_redacted_recording(tmp_path: Path) -> None:
    """The same search finds each text in the same recording with names."""
    places = ("Silence.note", "Silence.by", "Matcher.query", "Ack.note", "Ack.by", "Incident.ended_by", "Loss.incident")
    texts = [ABOUT.profile, ABOUT.host, *PLAIN_TEXTS, *(f"{MARK}{place}" for place in places)]

    def found(name: str, redaction: Redaction | None) -> list[str]:
        path = tmp_path / name
        with closing(RecordingWriter(path, ABOUT, redaction)) as writer:
            for moment, result, events in LIFE.steps:
                writer.write(moment, result, events)
                writer.write_events(moment.now.wall, events)
            writer.write(marked(Moment), PollResult.LISTED)
        content = path.read_bytes() + json.dumps(plain_values(path), ensure_ascii=False).encode()
        with closing(RecordedFile(path)) as file:
            assert file.about.is_redacted == (redaction is not None)
            assert len(events_of(file.steps(*ALWAYS))) == 2 * len(LIFE.events)
        return [text for text in texts if text.encode() in content]

    assert found("names.rec", None) == texts
    assert found("redacted.rec", Redaction()) == []


def plain_values(path: Path) -> list[object]:
    """Return every value of a file, also what stands compressed there."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for name in tables for row in connection.execute(f"SELECT * FROM {name}")]
    return [unpacked(value) if isinstance(value, bytes) else value for row in rows for value in row]
