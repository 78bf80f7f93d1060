"""The state files of a long run: changes of this process and of others, and the file of a profile's uptime record.

One process writes the uptime record, all others read the record, and the history rebuilds a lost file.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from support.builders import NOW, environment, failed, key_of, listed, reading
from support.programs import wait_until
from support.recording import record
from support.rights import folder_for_anyone, without_rights

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.config.credentials import Credentials
from envwatch.config.settings import Settings
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.stored import Retention
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.redactor import Secret
from envwatch.model.text import clean
from envwatch.watch.loop import Decisions
from envwatch.watch.profiles import Profiles, SelectedProfile, history_folder_for, state_file
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, UPTIME, acknowledged, merge
from envwatch.watch.state_files import StateFiles, UptimeFiles, stored_record, uptime_file_for

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


ACK = Ack(ServerMs(NOW), clean("disk"))
OURS, THEIRS = key_of("ours"), key_of("theirs")


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def profiles() -> Profiles:
    credentials = Credentials(Secret("sk-let-0123456789"), "here", "https://letta.example")
    return Profiles({NO_PROFILE: SelectedProfile(credentials, Settings(profile="work"))})


def test_a_decision_wins_over_the_file_until_the_decision_is_written(profiles: Profiles) -> None:
    path = state_file("acknowledged")
    with closing(StateFiles(profiles, print)) as files:
        merge(path, ACKNOWLEDGEMENTS, {THEIRS: ACK})
        with path.with_name(f"{path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # nothing is written
            files.keep(Decisions(acks={OURS: ACK}))
            assert (files.read(reading()).acks or {}).keys() == {OURS, THEIRS}
        wait_until(lambda: acknowledged(path).keys() == {OURS, THEIRS}, "the written decision")
        merge(path, ACKNOWLEDGEMENTS, {OURS: None})
        wait_until(lambda: (files.read(reading()).acks or {}).keys() == {THEIRS}, "the withdrawal by another process")
        assert files.read(reading()).acks is None, "nobody has changed the file"


async def test_acknowledgements_are_on_the_disk_after_the_wait(profiles: Profiles) -> None:
    path = state_file("acknowledged")
    with closing(StateFiles(profiles, print)) as files:
        await files.acks_written()  # nothing was decided
        merge(path, ACKNOWLEDGEMENTS, {THEIRS: ACK})
        with path.with_name(f"{path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files.keep(Decisions(acks={OURS: ACK}))
            waiting = asyncio.ensure_future(files.acks_written())
            cancelled = asyncio.ensure_future(files.acks_written())
            await asyncio.sleep(0)
            cancelled.cancel()
            assert not waiting.done()
        await waiting
        assert acknowledged(path).keys() == {OURS, THEIRS}


async def test_a_failure_to_write_acknowledgements_is_told_to_those_who_wait(profiles: Profiles) -> None:
    path, lines = state_file("acknowledged"), list[str]()
    with closing(StateFiles(profiles, lines.append)) as files:
        path.mkdir(parents=True)
        for _ in range(2):
            files.keep(Decisions(acks={OURS: ACK}))
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number follows
                await files.acks_written()
            assert caught.value.errno == errno.EISDIR
        path.rmdir()
        files.keep(Decisions(acks={OURS: ACK}))
        await files.acks_written()
        assert acknowledged(path).keys() == {OURS}
    assert len(lines) == 1, "a failure is said once"


SERVER: Final = "letta.example"
SETTINGS: Final = Settings(profile="work")
MINUTE_MS: Final = 60_000.0


class Process:
    """A process that polls every minute; `names` are the rows that are up."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        credentials = Credentials(Secret("sk-let-0123456789"), "here", f"https://{SERVER}")
        self.warnings: list[str] = []
        profiles = Profiles({NO_PROFILE: SelectedProfile(credentials, settings)})
        self.files = UptimeFiles(profiles, self.warnings.append)
        self.monitor = Monitor.create({NO_PROFILE: Limits()})

    def poll(self, minute: float, *names: str) -> Process:
        at = NOW + minute * MINUTE_MS
        return self.show(at, *(environment(name, lastHeartbeat=at) for name in names))

    def show(self, at: float, *rows: Environment) -> Process:
        for profile, found in self.files.newest(reading(at)).items():
            self.monitor = self.monitor.with_uptime_record(profile, found)
        self.monitor, _ = self.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        self.files.keep(self.monitor, reading(at))
        return self

    def minutes(self, first: int, last: int, *names: str) -> Process:
        for minute in range(first, last + 1):
            self.poll(minute, *names)
        return self

    @property
    def watched_minutes(self) -> float:
        return self.monitor.uptime_records[NO_PROFILE].watched_ms / MINUTE_MS


DAMAGED_ROWS: Final = UPTIME.text({"watched_ms": 30 * MINUTE_MS, "rows": {"a": ["1", "1", "1", True], "b": {"up": 1}}})


def stored_minutes() -> float | None:
    found = stored_record(SERVER, SETTINGS)
    return None if found is None else found.watched_ms / MINUTE_MS


def test_the_record_is_written_at_the_end_and_goes_on_in_the_next_run() -> None:
    one = Process().minutes(0, 5, "a", "b")
    assert one.watched_minutes == 5.0
    one.files.close()
    assert stored_minutes() == 5.0
    other = Process().minutes(100, 103, "a")
    assert other.watched_minutes == 8.0
    other.files.close()
    assert stored_minutes() == 8.0


def test_a_new_record_is_written_after_the_first_listing() -> None:
    one = Process().poll(0, "a")
    one.files._files[NO_PROFILE].close()  # noqa: SLF001  waits for the writing thread
    assert stored_minutes() == 0.0
    one.files.close()


def test_the_record_is_written_every_ten_minutes() -> None:
    one = Process().minutes(0, 9, "a")
    one.files.close()
    assert stored_minutes() == 9.0
    other = Process().minutes(100, 109, "a")
    assert stored_minutes() == 9.0
    other.poll(110, "a")
    other.files._files[NO_PROFILE].close()  # noqa: SLF001  waits for the writing thread
    assert stored_minutes() == 19.0
    other.files.close()


def test_an_uptime_taken_over_by_a_replacing_row_is_written_at_once() -> None:
    listener = {"deviceId": "d", "listenerInstanceId": "server-0123456789abcdef"}
    old, one = listener | {"firstSeenAt": NOW - MINUTE_MS}, Process()
    for at in (NOW, NOW + MINUTE_MS):
        one.show(at, environment("old", lastHeartbeat=at, **old))
    lost = environment("old", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW + MINUTE_MS, **old)
    later = NOW + 2 * MINUTE_MS
    one.show(later, lost, environment("new", lastHeartbeat=later, firstSeenAt=later, **listener))
    one.files._files[NO_PROFILE].close()  # noqa: SLF001  waits for the writing thread, as if the process was killed then
    record = stored_record(SERVER, SETTINGS)
    assert record is not None
    assert record.rows.keys() == {"new"}
    one.files.close()


def test_one_process_writes_and_another_reads_and_takes_over() -> None:
    writer = Process().minutes(0, 3, "a")
    writer.files.close()
    writer, reader = Process().minutes(10, 12, "a"), Process().minutes(10, 15, "a")
    assert (writer.watched_minutes, reader.watched_minutes) == (5.0, 8.0)
    reader.files.keep(reader.monitor, reading(NOW + 1_000 * MINUTE_MS))
    assert stored_minutes() == 3.0, "only the writer writes"
    writer.files.close()
    assert stored_minutes() == 5.0
    assert reader.poll(16, "a").watched_minutes == 6.0, "the writer's record, and a minute"
    reader.files.close()
    assert stored_minutes() == 6.0


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        '{"rows": {}}\n{}\n',
        '{"watched_ms": -1, "rows": {}}\n{}\n',
        '{"watched_ms": NaN, "rows": {}}\n{}\n',
        DAMAGED_ROWS,
    ],
)
def test_without_a_readable_file_the_history_gives_the_record(content: str | None) -> None:
    folder = history_folder_for(SERVER, SETTINGS)
    folder.mkdir(parents=True)
    writer = FolderWriter(folder, Retention())
    rows = [environment(name, lastHeartbeat=NOW) for name in ("a", "b")]
    record(writer, [listed(rows, NOW + minute * MINUTE_MS) for minute in range(31)])
    writer.close()
    path = uptime_file_for(SERVER, SETTINGS)
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_text(content)
    process = Process()
    found: dict[SafeText, UptimeRecord] = {}

    def has_record() -> bool:
        found.update(process.files.newest(reading(NOW)))
        return bool(found)

    wait_until(has_record, "the record of the history")
    assert found[NO_PROFILE].watched_ms == pytest.approx(30 * MINUTE_MS)
    assert found[NO_PROFILE].rows.keys() == {"a", "b"}
    process.files.close()
    about, place = "which machines are up most of the time", f"({path}, kept as {path.name}.aside)"
    if content is None:
        assert process.warnings == []
    elif content == "{":
        assert process.warnings == [f"forgot {about}: damaged {place}"]
    else:
        unread = "a, b" if content == DAMAGED_ROWS else "the watched time"
        assert process.warnings == [f"forgot in part {about}: cannot read {unread} {place}"]


def test_a_record_with_a_damaged_entry_is_set_aside_at_the_next_write() -> None:
    path = uptime_file_for(SERVER, SETTINGS)
    Process().minutes(0, 5, "a", "b").files.close()
    content = UPTIME.read(path).content
    content["rows"]["a"][0] = "300000"
    path.write_text(UPTIME.text(content))
    process = Process(replace(SETTINGS, history=False)).minutes(10, 12, "a", "b")
    process.files.close()
    aside = path.with_name(f"{path.name}.aside")
    assert UPTIME.read(aside).content == content
    assert process.warnings == [
        f"forgot in part which machines are up most of the time: cannot read a ({path}, kept as {aside.name})",
    ]
    record = stored_record(SERVER, SETTINGS)
    assert record is not None
    assert {id_: round(each.watched_for / timedelta(minutes=1)) for id_, each in record.rows.items()} == {
        "a": 0,
        "b": 5,
    }


def test_an_unreadable_history_gives_an_empty_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_for_anyone() as place:
        monkeypatch.setenv("XDG_STATE_HOME", str(place))
        folder = history_folder_for(SERVER, SETTINGS)
        folder.mkdir(parents=True)
        with without_rights(folder.parent, may_read=False), closing(Process().files) as files:
            assert files.newest(reading()) == {NO_PROFILE: UptimeRecord()}


def test_without_history_and_without_a_listing_nothing_is_written() -> None:
    process = Process(replace(SETTINGS, history=False))
    assert process.files.newest(reading()) == {NO_PROFILE: UptimeRecord()}
    monitor, _ = process.monitor.with_uptime_record(NO_PROFILE, UptimeRecord()).apply(NO_PROFILE, failed(), reading())
    process.files.keep(monitor, reading())
    process.files.close()
    assert stored_minutes() is None, "the next run would take no row for a row of the first listing"
