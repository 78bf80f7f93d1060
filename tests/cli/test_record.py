"""`envwatch record` and `envwatch replay`: written content, read content, and refusals."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import stat
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from humanize import naturalsize
from support import programs
from support.builders import NOW, environment, key_of, reading, wire_row, wire_rows
from support.fake_clock import Script, World, error, poller_of
from support.faulty_server import KEY, faulty_server
from support.lives import plain_life
from support.memory_history import recorded
from support.pty_terminal import environment as environment_of
from support.recording import ALWAYS, DAY
from support.recording import kinds as frame_kinds
from support.recording import life as outcomes
from support.recording import record as write_history

from envwatch.alerts.monitor import Monitor
from envwatch.cli.arguments import Exit, StopError, options_in
from envwatch.cli.commands import record, replay
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.encoding.frames import FrameKind
from envwatch.history.encoding.packing import NONSENSE
from envwatch.history.past import About, events_of
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import RecordedFile, Retention, StoredPast, day_paths, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.letta.poller import PolledProfile, Session
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.outcome import Cause, ListedPage, Snapshot
from envwatch.model.text import clean
from envwatch.views.events.cloud_events import source_of
from envwatch.views.events.event_stream import EventStream
from envwatch.watch.loop import Watch, deadline_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.faulty_server import Faulty
    from support.in_process import Envwatch
    from support.memory_history import MemoryHistory

    from envwatch.model.environment import Environment

BASE_URL: Final = clean("https://api.letta.com/x y")
ABOUT: Final = About(profile=clean("prod"), base_url=BASE_URL, version=clean("1.0"))
OFF: Final = {"connectionId": None, "lastHeartbeat": None}


def snapshot(*rows: Environment) -> Snapshot:
    return Snapshot.of_pages(pages=(ListedPage(list(rows), reading().wall),), requests=1)


async def printed_and_recorded(path: Path, *, is_json: bool) -> list[bytes]:
    """Return the output of `watch` while `record` records the same polls: changes, a failure, blindness, recovery."""
    world = World()
    rows = [environment(f"env-{number}", lastHeartbeat=NOW) for number in range(3)]
    rows.append(environment("env-3", **OFF))
    changed = environment("env-1", lastHeartbeat=NOW, currentMode="strict", connectionName="東京")
    lost = [environment(row.id, **OFF) for row in rows[1:]]
    back = [environment(row.id, lastHeartbeat=NOW + 300_000) for row in rows[:3]]
    answers = [snapshot(*listing) for listing in (rows, [rows[0], changed, *rows[2:]], [rows[0], *lost], rows)]
    source = Script(world, *answers, *[error(Cause.TIMEOUT)] * 12, snapshot(*back))
    target = PolledProfile(profile="prod", host="host", key_origin="", poller=poller_of(world, source))
    stream = EventStream(sources={NO_PROFILE: source_of(BASE_URL)}, is_json=is_json, profile_name=clean("prod"))
    monitor = Monitor.create({NO_PROFILE: target.poller.limits}, profile_name=clean("prod"))
    monitor = monitor.with_acks(
        {key_of("env-3"): Ack(NOW, clean("new disks")), key_of("another"): Ack(NOW, clean("x"))}
    )
    printed: list[bytes] = []
    async with Session({NO_PROFILE: target}) as session:
        with closing(RecordingWriter(path, ABOUT)) as writer:
            deadline = deadline_after(world.clocks(), timedelta(seconds=400))
            async for update in Watch(monitor, session, deadline=deadline, runtime=world.runtime()):
                printed += stream.lines(update.before, update.monitor, update.changes.events, update.changes.now)
                record.write_update(writer, update)
    return printed


@pytest.mark.parametrize("is_json", [False, True])
async def test_a_replay_prints_what_watch_printed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], *, is_json: bool
) -> None:
    path = tmp_path / "a.rec"
    printed = await printed_and_recorded(path, is_json=is_json)
    words = b" ".join(printed)
    assert all(word in words for word in (b"mode", b"offline", b"failing", b"blind", b"online"))
    assert replay.run(options_in(["replay", str(path), "-o", "jsonl" if is_json else "text"])) == Exit.FINE
    assert capfdbinary.readouterr() == (b"".join(printed), b"")
    with closing(RecordedFile(path)) as file:
        assert file.moment(file.polls()[0]).acks.keys() == {"env-3"}


def lines_of(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert replay.run(options_in(["replay", *arguments, "-o", "text"])) == Exit.FINE
    return capfd.readouterr().out.splitlines()


def test_a_replay_has_the_times_of_the_configured_zone(
    life: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVWATCH_TIMEZONE", "UTC")
    utc = lines_of(capfd, str(life))
    monkeypatch.setenv("ENVWATCH_TIMEZONE", "Asia/Kathmandu")
    there = lines_of(capfd, str(life))
    assert all("Z " in line for line in utc)
    assert all("+05:45 " in line for line in there)
    middle = there[len(there) // 2][: len("2025-10-09T14:45:00")]
    assert lines_of(capfd, str(life), "--at", middle[-8:])[0].startswith(middle)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("life") / "life.rec"
    with closing(RecordingWriter(path, ABOUT)) as writer:
        for moment, result, events in plain_life().steps:
            writer.write(moment, result, events)
    return path


def steps_in(path: Path) -> list[tuple[str, list[str]]]:
    if not path.exists() or not path.stat().st_size:
        return []
    with closing(RecordedFile(path)) as file:
        return [(step.poll.result, [event.kind for event in step.events]) for step in file.steps() if step.poll]


def test_polls_are_in_the_file_and_in_the_history(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = wire_rows(2)
    recording = envwatch.home / "a.rec"
    ended = envwatch("record", "-o", str(recording), "--for=1s", "--interval=1s")
    assert (ended.code, ended.out) == (Exit.FINE, "")
    began, last = ended.err.splitlines()
    assert began == f"envwatch: recording {faulty.url[7:]} every 1 s (profile default) for 1s"
    size = recording.stat().st_size
    assert re.fullmatch(rf"envwatch: \d+ polls?, {re.escape(naturalsize(size, binary=True))} in .*a.rec", last)
    assert steps_in(recording)[0] == ("listed", [])
    with closing(RecordedFile(recording)) as file:
        assert file.about == About(profile=clean("default"), base_url=clean(faulty.url), version=file.about.version)
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600
    (folder,) = (envwatch.home / "envwatch" / "history").iterdir()
    assert len(StoredPast(folder).polls(WallMs(0), WallMs(time.time() * 2_000))) == len(steps_in(recording))


async def test_a_killed_recording_has_every_poll_so_far(tmp_path: Path) -> None:
    path, null = tmp_path / "a.rec", os.open(os.devnull, os.O_RDWR)
    async with faulty_server(wire_rows(2)) as server:
        environ = environment_of(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url)
        command = [sys.executable, "-m", "envwatch", "record", "-o", path.name, "--interval=1s"]
        process = programs.start(command, environ, (null, null, null), folder=tmp_path)
        os.close(null)
        try:
            await grown(path, lambda steps: len(steps) > 0)
            server.rows = [wire_row("env-1", currentMode="plan"), wire_row("env-2")]
            await grown(path, lambda steps: ["mode"] in [kinds for _, kinds in steps])
        finally:
            process.kill()
            process.wait()
    assert ["mode"] in [kinds for _, kinds in steps_in(path)]
    with closing(RecordedFile(path)) as file:
        assert not file.is_cut


@pytest.mark.parametrize("other", [None, b"mine"], ids=["removed", "replaced"])
async def test_a_recording_whose_file_is_taken_away_ends_with_the_error_alone(
    other: bytes | None, tmp_path: Path
) -> None:
    path, errors, null = tmp_path / "a.rec", tmp_path / "errors", os.open(os.devnull, os.O_RDWR)
    async with faulty_server(wire_rows(2)) as server:
        environ = environment_of(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url)
        command = [sys.executable, "-m", "envwatch", "record", "-o", path.name, "--interval=1s", "--for=20s"]
        with errors.open("wb") as file:
            process = programs.start(command, environ, (null, null, file.fileno()), folder=tmp_path)
        os.close(null)
        try:
            await grown(path, lambda steps: len(steps) > 0)
            path.unlink()
            if other is not None:
                path.write_bytes(other)
            assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == Exit.FAILED
        finally:
            process.kill()
    begun, *end = errors.read_text().splitlines()
    assert begun.startswith("envwatch: recording ")
    assert [line.partition(": cannot write a.rec: ")[0] for line in end] == ["envwatch"]
    assert (path.read_bytes() if path.exists() else None) == other


async def grown(path: Path, is_so: Callable[[list[tuple[str, list[str]]]], bool]) -> None:
    async with asyncio.timeout(programs.TIMEOUT_S):
        while not is_so(steps_in(path)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


def remember(envwatch: Envwatch, base_url: str, at: float) -> None:
    envwatch.connect(base_url)
    writer = FolderWriter(history_folder(envwatch.home / "envwatch", "default", base_url[8:]), Retention())
    writer.take()
    for moment, result, events in plain_life(at).steps:
        writer.write(moment, result, events)
    writer.close()


def test_a_time_is_cut_from_the_history_without_a_key_and_redacted_on_demand(
    envwatch: Envwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_url, at = "https://letta.example:8443", (time.time() // 1 - 3_600) * 1000
    life = plain_life(at)
    remember(envwatch, base_url, at)
    monkeypatch.delenv("LETTA_API_KEY")

    def cut(name: str, since: str, *options: str) -> Path:
        path = envwatch.home / name
        assert envwatch("record", "--since", since, "-o", str(path), *options).code == Exit.FINE
        return path

    with closing(RecordedFile(cut("a.rec", "2h ago"))) as file:
        assert file.about.base_url == base_url
        assert list(map(file.moment, file.polls())) == life.moments
        assert events_of(file.steps(WallMs(0), WallMs(at * 2))) == life.events
    with closing(RecordedFile(cut("b.rec", "2h ago", "--redact"))) as file:
        assert file.about.is_redacted
        assert [poll.at for poll in file.polls()] == [moment.now.wall for moment in life.moments]
        assert not any("text " in str(file.moment(poll)) for poll in file.polls())
    until = datetime.fromtimestamp(life.moments[3].now.wall / 1000, UTC).isoformat(timespec="seconds")
    assert len(steps_in(cut("c.rec", "2h ago", "--until", until))) == 4
    with closing(RecordedFile(later := cut("later.rec", until))) as file:
        assert frame_kinds(later)[0] is FrameKind.KEY
        assert list(map(file.moment, file.polls())) == life.moments[3:]
    nothing = envwatch("record", "--since=5m ago", "-o", str(envwatch.home / "d.rec"))
    assert nothing.code == Exit.FAILED
    assert nothing.line.startswith(f"nothing was recorded of profile default at {base_url} from ")
    remember(envwatch, base_url, at + 600_000)
    with closing(RecordedFile(cut("runs.rec", "2h ago"))) as file:
        assert [poll.run for poll in file.polls()] == [1] * 16 + [17] * 16
    for day in (envwatch.home / "envwatch" / "history").glob("*/*.sqlite"):
        day.write_bytes(b"something else" * 9_999)
    damaged = envwatch("record", "--since=2h ago", "-o", str(envwatch.home / "e.rec"))
    assert damaged.code == Exit.FAILED
    assert re.fullmatch(r"the history cannot be read: .*; see `envwatch doctor`", damaged.line)
    assert {path.name[0] for path in envwatch.home.glob("*.rec")} == {*"abclr"}, "neither d.rec nor e.rec"


LEFT_OUT: Final = {
    "bytes of a frame": ("UPDATE frames SET data = x'00' WHERE number = 20", range(20, 81), "damaged: the checksum"),
    "no frame": ("DELETE FROM frames WHERE number = 20", range(20, 81), "a poll is no longer there"),
    "kind of a frame": ("UPDATE polls SET kind = 7 WHERE number = 20", range(20, 81), NONSENSE),
    "result": ("UPDATE polls SET result = 'slipped' WHERE number = 20", [20], NONSENSE),
    "time": ("UPDATE polls SET at = 'noon' WHERE number BETWEEN 20 AND 21", [20, 21], NONSENSE),
    "time of another day": ("UPDATE polls SET at = 0 WHERE number BETWEEN 20 AND 21", [20, 21], NONSENSE),
    "run": ("UPDATE polls SET run = 'x' WHERE number = 20", [20], NONSENSE),
    "interval": ("UPDATE polls SET interval_s = -1.0 WHERE number = 20", [20], NONSENSE),
}
"""A damage of the history, the numbers of the polls that cannot be read, and the reason."""


def at_text(at: float) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


class Stored(NamedTuple):
    path: Path
    history: MemoryHistory

    def change(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)


def an_hour_ago() -> float:
    """Return a time whose next ten minutes are of one day."""
    at = (time.time() // 1 - 3_600) * 1000
    return at if at % DAY < DAY - 600_000 else at - 1_200_000


@pytest.fixture
def folder(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the only history."""
    monkeypatch.setenv("LETTA_BASE_URL", "https://letta.example")
    monkeypatch.setenv("ENVWATCH_TIMEZONE", "UTC")
    return history_folder(empty_home / "envwatch", "default", "letta.example")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Return a history in which poll 81 is a BRIDGE."""
    folder = tmp_path_factory.mktemp("history") / "default@letta.example"
    writer = FolderWriter(folder, Retention())
    history = write_history(writer, outcomes(100, an_hour_ago()))
    writer.close()
    (path,) = day_paths(folder)
    return Stored(path, history)


@pytest.fixture
def stored(written: Stored, folder: Path) -> Stored:
    """Return a copy of the history as the only history."""
    shutil.copytree(written.path.parent, folder)
    return Stored(folder / written.path.name, written.history)


def copy(capfd: pytest.CaptureFixture[str], path: Path) -> list[str]:
    """Copy three hours into a recording; return the lines on standard error."""
    assert record.run(options_in(["record", "--since=3h ago", "-o", str(path)])) == Exit.FINE
    return capfd.readouterr().err.splitlines()


@pytest.mark.parametrize("damage", LEFT_OUT)
def test_a_copy_names_unreadable_polls_and_keeps_the_rest(
    stored: Stored, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    statement, numbers, reason = LEFT_OUT[damage]
    polls = stored.history.polls(*ALWAYS)
    stored.change(statement)
    line, last = copy(capfd, tmp_path / "a.rec")
    since, until = (at_text(polls[number - 1].at) for number in (numbers[0], numbers[-1]))
    if damage.startswith("time"):
        since = until = at_text(polls[18].at)
    count = f"{len(numbers)} polls" if len(numbers) > 1 else "1 poll"
    when = f"at {since}" if since == until else f"from {since} to {until}"
    assert line.startswith(f"envwatch: {count} {when} {'are' if len(numbers) > 1 else 'is'} left out: {reason}")
    assert last.startswith(f"envwatch: {100 - len(numbers)} polls, ")
    kept = [poll for poll in polls if poll.number not in numbers]
    with closing(RecordedFile(tmp_path / "a.rec")) as file:
        assert [poll.at for poll in file.polls()] == [poll.at for poll in kept]
        assert list(map(file.moment, file.polls())) == list(map(stored.history.moment, kept))
        assert {poll.run for poll in file.polls()} == {1}
        if not damage.startswith("time"):
            assert events_of(file.steps()) == stored.history.events(*ALWAYS)
    assert frame_kinds(tmp_path / "a.rec")[18:20] == [FrameKind.STEP, FrameKind.KEY]


def test_a_copy_leaves_out_a_poll_with_an_impossible_clock(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at, history = an_hour_ago(), recorded(outcomes(4, an_hour_ago()))
    polls = history.polls(*ALWAYS)
    writer = FolderWriter(folder, Retention())
    writer.take()
    for poll in polls:
        moment = history.moment(poll)
        impossible = replace(moment, profile_state=replace(moment.profile_state, elapsed_ms=inf))
        writer.write(impossible if poll.number == 2 else moment, poll.result)
    writer.close()
    line, _ = copy(capfd, tmp_path / "a.rec")
    assert line == f"envwatch: 1 poll at {at_text(at + 5_000)} is left out: a clock in it shows what none can"
    with closing(RecordedFile(tmp_path / "a.rec")) as file:
        assert list(map(file.moment, file.polls())) == [history.moment(poll) for poll in polls if poll.number != 2]


def test_a_copy_names_unreadable_events(stored: Stored, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events = stored.history.events(*ALWAYS)
    stored.change("UPDATE events SET data = x'00' WHERE number = 5")
    line, _ = copy(capfd, tmp_path / "a.rec")
    assert re.fullmatch(r"envwatch: 1 event at \S+ \S+ is left out: damaged: the checksum does not fit", line)
    with closing(RecordedFile(tmp_path / "a.rec")) as file:
        assert events_of(file.steps()) == [*events[:4], *events[5:]]


def test_a_copy_of_unreadable_polls_alone_is_no_file(stored: Stored, tmp_path: Path) -> None:
    stored.change("UPDATE frames SET data = x'00'")
    options = options_in(["record", "--since=3h ago", "-o", str(tmp_path / "a.rec")])
    with pytest.raises(
        StopError, match="the history cannot be read: damaged: the checksum does not fit; see"
    ) as raised:
        record.run(options)
    assert raised.value.code == Exit.FAILED
    assert not (tmp_path / "a.rec").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"envwatch recording 1\n",
            "cannot replay .*: it is a recording of another version of envwatch, which cannot be",
        ),
        (None, "cannot replay .*: it has no polls"),
    ],
)
def test_a_recording_of_another_version_and_an_empty_recording_are_not_replayed(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.rec"
    RecordingWriter(path, ABOUT).close()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StopError, match=message) as raised:
        replay.run(options_in(["replay", str(path), "-o", "text"]))
    assert raised.value.code == Exit.USAGE


def test_a_file_is_replaced_only_on_demand_and_a_device_never(envwatch: Envwatch) -> None:
    path = envwatch.home / "a.rec"
    remember(envwatch, "https://letta.example", (time.time() // 1 - 3_600) * 1000)
    path.write_text("mine")
    refused = envwatch("record", "--since=2h ago", "-o", str(path))
    assert (refused.code, path.read_text()) == (Exit.USAGE, "mine")
    assert refused.line.endswith("a.rec exists; choose another name, or --force to replace it")
    assert envwatch("record", "--since=2h ago", "-o", str(path), "--force").code == Exit.FINE
    assert len(steps_in(path)) == len(plain_life().steps)
    assert envwatch("record", "--since=2h ago", "-o", "/dev/null", "--force").code == Exit.USAGE


def test_a_cut_recording_says_so_and_prints_what_is_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.rec"
    with closing(RecordingWriter(path, ABOUT)) as writer:
        for number in range(16):
            for moment, result, events in plain_life(NOW + number * 600_000).steps:
                writer.write(moment, result, events)
    everything = lines_of(capfd, str(path))
    os.truncate(path, path.stat().st_size - 20_000)
    assert replay.run(options_in(["replay", str(path), "-o", "text"])) == Exit.FINE
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert 0 < len(lines) < len(everything)
    assert lines == everything[: len(lines)]
    assert re.fullmatch(rf"envwatch: the end of {path.name} is missing: it ends at 2025-10-\S+ \S+\n", err)
