"""A recording returns the written steps, or the first steps."""

from __future__ import annotations

import json
import math
import os
import resource
import stat
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, failed, listed
from support.eventful_life import plain_life
from support.exact import exact
from support.memory_history import recorded

from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import clean
from envwatch.past.history import HistoryError, RecordedStep
from envwatch.storage.history.encoding.events import encode_event
from envwatch.storage.history.encoding.frames import FORMAT_VERSION
from envwatch.storage.history.encoding.packing import unpacked
from envwatch.storage.history.recording import RecordedFile, RecordingWriter, _chunk
from envwatch.storage.history.redaction import Redaction
from envwatch.storage.history.schema import About

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from envwatch.past.history import Moment

ABOUT: Final = About(profile=clean("prod"), base_url=clean("https://api.letta.com"), version=clean("1.0"))
ALWAYS: Final = (WallMs(0), WallMs(NOW * 2))
BLIND: Final = Event(kind=Kind.BLIND, at=NOW, reason=clean("timeout"))

LIFE: Final = plain_life()


def write(path: Path, steps: Iterable[tuple[Moment, PollResult, tuple[Event, ...]]]) -> bytes:
    with RecordingWriter(path, ABOUT) as writer:
        for moment, result, events in steps:
            writer.write(moment, result, 5.0, events)
    return path.read_bytes()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("life") / "life.rec", LIFE.steps)


def test_moments_and_events_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write(path, LIFE.steps)
    with RecordedFile(path) as file:
        polls = file.polls(*ALWAYS)
        assert file.about == ABOUT
        assert not file.is_cut
        assert [moment.now.wall for moment in LIFE.moments] == [poll.at for poll in polls]
        assert [result for _, result, _ in LIFE.steps] == [poll.result for poll in polls]
        assert [exact(moment) for moment in file.moments(polls)] == [exact(moment) for moment in LIFE.moments]
        assert exact(list(file.events(*ALWAYS))) == exact(LIFE.events)
        assert [list(step.events) for step in file.all_steps()] == [list(events) for _, _, events in LIFE.steps]


@given(st.lists(st.integers(0, len(LIFE.steps) - 1), max_size=30))
def test_moments_come_back_in_any_order(order: list[int]) -> None:
    with RecordedFile(PATHS["life"]) as file:
        polls = file.polls(*ALWAYS)
        for index in order:
            assert file.moment(polls[index]) == LIFE.moments[index]


def test_a_long_recording_has_bridges_and_keys_on_the_way(tmp_path: Path) -> None:
    history = recorded(listed(beating(3, NOW + 5_000 * count), NOW + 5_000 * count) for count in range(800))
    path = tmp_path / "long.rec"
    with RecordingWriter(path, ABOUT) as writer:
        for poll in history.polls(*ALWAYS):
            writer.write(history.moment(poll), poll.result, poll.interval_s)
    with RecordedFile(path) as file:
        polls = file.polls(*ALWAYS)
        assert file.all_polls() == polls == history.polls(*ALWAYS)
        for index in (799, 0, 798, 400, 401, 399, 720, 719, 29, 30, 31):
            assert file.moment(polls[index]) == history.moment(polls[index])
        assert list(file.moments(polls)) == list(history.moments(polls))


def test_runs_and_events_without_a_poll_keep_their_places(tmp_path: Path) -> None:
    (first, result, _), path = LIFE.steps[0], tmp_path / "a.rec"
    with RecordingWriter(path, ABOUT) as writer:
        writer.write_events(WallMs(1), [BLIND])
        writer.write(first, result, 5.0)
        writer.start_run()
        writer.write(first, result, 6.0)
        writer.write(first, PollResult.FAILED, 6.0)
        writer.write_events(WallMs(2), [BLIND, BLIND])
        assert (writer.polls, writer.size) == (3, path.stat().st_size)
    at = first.now.wall
    polls = [
        RecordedPoll(1, at, result, 1, 5.0),
        RecordedPoll(2, at, result, 2, 6.0),
        RecordedPoll(3, at, PollResult.FAILED, 2, 6.0),
    ]
    with RecordedFile(path) as file:
        assert list(file.all_steps()) == [
            RecordedStep(WallMs(1), None, [BLIND]),
            *[RecordedStep(at, poll, []) for poll in polls],
            RecordedStep(WallMs(2), None, [BLIND, BLIND]),
        ]
        assert file.polls(at, at) == polls
        assert file.polls(WallMs(at + 1), WallMs(at + 9)) == []
        assert file.events(WallMs(2), WallMs(2)) == [BLIND, BLIND]
        with pytest.raises(HistoryError):
            file.moment(RecordedPoll(4, at, result, 2, 6.0))


def test_what_was_written_can_be_read_at_once(tmp_path: Path) -> None:
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    with RecordingWriter(path, ABOUT) as writer:
        for count in range(3):
            with RecordedFile(path) as file:
                assert len(file.all_polls()) == count
            writer.write(moment, result, 5.0, events)


def read(path: Path) -> tuple[list[Moment], list[Event], bool]:
    with RecordedFile(path) as file:
        return list(file.moments(file.all_polls())), list(file.events(*ALWAYS)), file.is_cut


def test_a_file_that_is_cut_at_any_byte_loses_its_end_alone(tmp_path: Path) -> None:
    rows = beating(1)
    history = recorded([listed(rows), listed([replace(rows[0], mode=clean("strict"))], NOW + 5_000), failed(at=NOW)])
    moments, events = list(history.moments(history.polls(*ALWAYS))), list(history.events(*ALWAYS))
    assert len(events) == 1
    steps = [(moments[0], PollResult.LISTED, ()), (moments[1], PollResult.LISTED, (events[0],))]
    steps.append((moments[2], PollResult.FAILED, ()))
    ends = [len(write(tmp_path / f"{count}.rec", steps[:count])) for count in range(4)]
    path = tmp_path / "3.rec"
    for length in reversed(range(ends[-1] + 1)):
        os.truncate(path, length)
        kept = sum(end <= length for end in ends) - 1
        if kept < 0:
            with pytest.raises(HistoryError, match=r"damaged at its beginning|no recording"):
                RecordedFile(path)
            continue
        with RecordedFile(path) as file:
            assert (len(file.all_polls()), len([*file.all_steps()]), file.is_cut) == (kept, kept, length not in ends)
        if {length - 1, length, length + 1} & {*ends}:
            assert read(path) == (moments[:kept], events[: max(kept - 1, 0)], length not in ends)


@given(st.data())
def test_damage_anywhere_loses_what_follows_alone(data: st.DataObject) -> None:
    """A damaged file is refused, or the beginning is read."""
    whole = PATHS["life"].read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=40))
    path = PATHS["life"].with_name("damaged.rec")
    path.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
    try:
        moments, events, _ = read(path)
    except HistoryError:
        return
    assert moments == LIFE.moments[: len(moments)]
    assert events == LIFE.events[: len(events)]


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(tail: bytes) -> None:
    path = PATHS["life"].with_name("odd.rec")
    path.write_bytes(b"envwatch recording 1\n" + tail)
    with pytest.raises(HistoryError):
        RecordedFile(path)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=60)), max_size=8), st.integers(1, 8))
def test_chunks_of_any_content_are_left_out_or_damaged(chunks: list[tuple[int, bytes]], after: int) -> None:
    """Forged chunks with a correct checksum."""
    path = PATHS["life"].with_name("forged.rec")
    path.write_bytes(PATHS["life"].read_bytes() + b"".join(_chunk(kind, body) for kind, body in chunks))  # type: ignore[arg-type]
    with RecordedFile(path) as file:
        for poll in (*file.all_polls()[len(LIFE.steps) - 1 :], *file.all_polls()[:after]):
            with suppress(HistoryError):
                file.moment(poll)
        with suppress(HistoryError):
            file.events(*ALWAYS)
        assert list(file.moments(file.all_polls()[:after])) == LIFE.moments[:after]


@pytest.mark.parametrize("at", [math.nan, math.inf, -1.0, 1e300])
def test_a_time_that_no_calendar_has_ends_the_recording(at: float, tmp_path: Path) -> None:
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    with RecordingWriter(path, ABOUT) as writer:
        writer.write(moment, result, 5.0, events)
        writer.write_events(WallMs(at), [BLIND])
        writer.write(replace(moment, now=replace(moment.now, wall=WallMs(at))), result, 5.0, events)
    assert read(path) == ([moment], list(events), True)


@pytest.mark.parametrize("interval_s", [math.nan, math.inf, -1.0, 1e300])
def test_an_interval_without_polls_ends_the_recording(interval_s: float, tmp_path: Path) -> None:
    path, (moment, result, events) = tmp_path / "a.rec", LIFE.steps[0]
    with RecordingWriter(path, ABOUT) as writer:
        writer.write(moment, result, 5.0, events)
        writer.write(moment, result, interval_s, events)
    assert read(path) == ([moment], list(events), True)


PATHS: Final[dict[str, Path]] = {}


@pytest.fixture(autouse=True, scope="module")
def life_path(tmp_path_factory: pytest.TempPathFactory, recording: bytes) -> None:
    """Keep the file for property tests, which take no function-scoped fixture."""
    PATHS["life"] = tmp_path_factory.mktemp("properties") / "life.rec"
    PATHS["life"].write_bytes(recording)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no recording of envwatch"),
        (b"SQLite format 3\0", "it is no recording of envwatch"),
        (b"envwatch recording %d\n" % (FORMAT_VERSION + 1), "a newer envwatch made it; update this one"),
        (b"envwatch recording one\n", "it is damaged at its beginning"),
        (b"envwatch recording 1", "it is damaged at its beginning"),
        (b"envwatch recording 1\n", "it is damaged at its beginning"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=f"^{message}$"):
        RecordedFile(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "Not a regular file"),
    ):
        with pytest.raises(HistoryError, match=f"^{message}$"):
            RecordedFile(path)


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
    with RecordingWriter(path, ABOUT) as writer:
        writer.write(moment, result, 5.0, events)
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                writer.write(moment, result, 5.0, events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.stat().st_size == size
        writer.write(moment, result, 5.0, events)
    assert read(path) == ([moment, moment], [*events, *events], False)


def test_no_text_of_others_is_in_the_bytes_of_a_redacted_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with RecordingWriter(path, ABOUT, Redaction()) as writer:
        for moment, result, events in LIFE.steps:
            writer.write(moment, result, 5.0, events)
            writer.write_events(moment.now.wall, events)
    content = path.read_bytes()
    with RecordedFile(path) as file:
        assert file.about.is_redacted
        assert file.about.host.endswith(".invalid")
        assert len(file.events(*ALWAYS)) == 2 * len(LIFE.events)
        content += b"".join(json.dumps(plain).encode() for plain in plain_values(file))
    assert not [text for text in ("api.letta", "prod", "text ") if text.encode() in content]
    assert b"wall" in content


def plain_values(file: RecordedFile) -> Iterator[object]:
    for place in file._places:  # noqa: SLF001  where it stands
        yield unpacked(file._bytes_at(place.start, place.length))  # noqa: SLF001
    yield from map(unpacked, map(encode_event, file.events(*ALWAYS)))
