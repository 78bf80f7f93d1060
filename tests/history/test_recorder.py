"""The recorder: a thread that writes, and whose caller neither waits nor fails."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, beating, failed, key_of, listed, reading
from support.memory_history import MemoryHistory
from support.recording import ALWAYS, DAY, PATIENCE_S, content, kinds, life, record
from support.rights import folder_for_anyone, without_rights
from support.values import exact

from envwatch.alerts.acknowledgements import ack_of
from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.history.earlier_runs import Seam
from envwatch.history.encoding.frames import FrameKind
from envwatch.history.recorder import HistoryRecorder
from envwatch.history.stored import Retention, StoredPast, day_paths
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed, PollResult, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from envwatch.model.outcome import Outcome

TODAY, TOMORROW = "2025-10-09.sqlite", "2025-10-10.sqlite"
HOUR = 3_600_000
A, B, OTHER = clean("a"), clean("b"), clean("other")


class Session:
    """A recorder of one profile next to a history in memory; a test can await each poll."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.said: SimpleQueue[str] = SimpleQueue()
        self.ready = threading.Event()
        self.history = MemoryHistory()
        self.recorder = HistoryRecorder(
            {NO_PROFILE: folder},
            notify=self.said.put,
            **({"on_ready": lambda _: self.ready.set()} | settings),
        )
        self.monitor = Monitor.create({NO_PROFILE: Limits()})
        self.seam: Seam | None = None

    def take(self, outcomes: Iterable[Outcome], *, is_kept: bool = True) -> None:
        for outcome in outcomes:
            now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
            self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, now)
            self.recorder.record(self.monitor, changes)
            if not is_kept:
                listed = [poll for poll in self.history.polls(*ALWAYS) if poll.result is PollResult.LISTED]
                if listed:
                    state = self.monitor.fleet.by_profile[NO_PROFILE]
                    self.seam = Seam.after(self.history.moment(listed[-1]), state)
                continue
            events: Sequence[Event] = changes.events
            if self.seam is not None and isinstance(outcome, Listed):
                self.seam, events = self.seam.after_outcome(outcome, events)
                self.seam = None if self.seam.is_over else self.seam
            self.history.record(self.monitor, changes._replace(events=tuple(events)))

    def close(self) -> list[str]:
        self.recorder.close(PATIENCE_S)
        return [self.said.get_nowait() for _ in range(self.said.qsize())]

    def line(self) -> str:
        return self.said.get(timeout=PATIENCE_S)

    @property
    def is_exact(self) -> bool:
        stored, kept = content(StoredPast(self.folder)), content(self.history)
        return exact(stored[1:]) == exact(kept[1:]) and len(stored[0]) == len(kept[0])


def test_a_recording_can_be_read_and_is_announced_with_the_first_listing(tmp_path: Path) -> None:
    polls_when_ready: list[int] = []
    session = Session(tmp_path, on_ready=lambda _: polls_when_ready.append(len(content(StoredPast(tmp_path))[0])))
    session.take([failed(at=NOW - 5000), *life(8)])
    assert session.close() == []
    assert session.is_exact
    assert polls_when_ready == [2]


def test_an_undeletable_old_entry_is_said_once_a_day(tmp_path: Path) -> None:
    stuck = tmp_path / "2020-01-02.sqlite"
    stuck.mkdir()
    session = Session(tmp_path)
    session.take(listed(beating(2, at), at) for at in (NOW, NOW + HOUR, NOW + DAY, NOW + DAY + HOUR))
    with pytest.raises(OSError, match=r"\w") as raised:
        stuck.unlink()
    line = f"an old day of the history cannot be deleted: {raised.value.strerror} ({stuck})"
    assert session.close() == [line, line]


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    with without_rights(folder.parent):
        yield "Permission denied; check the owner and the mode of that folder, or set history = false"


@contextmanager
def full(_: Path) -> Iterator[str]:
    """Limit files to 10 KB, which SQLite sees as a failing disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        yield "disk I/O error; see whether the disk is full or fails"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / TODAY, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield "another program holds it locked; end that program"
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def no_folder(folder: Path) -> Iterator[str]:
    folder.touch()
    try:
        yield "Not a directory; check the owner and the mode of that folder, or set history = false"
    finally:
        folder.unlink()


Trouble = Callable[[Path], AbstractContextManager[str]]


@pytest.mark.parametrize("trouble", [full, read_only, no_folder])
def test_trouble_at_the_start_is_said_once_and_recording_goes_on_afterwards(trouble: Trouble) -> None:
    with folder_for_anyone() as place:
        folder, outcomes = place / "a@b", life(12)
        with trouble(folder) as reason:
            session = Session(folder)
            session.take(outcomes[:4])
            assert session.close() == [f"no history is kept: {reason} ({place})"]
            session = Session(folder)
            session.take(outcomes[:1])
            session.line()
            assert session.ready.wait(PATIENCE_S)
        session.take(outcomes[1:])
        assert session.close() == ["history is kept again"]
        stored, kept = content(StoredPast(folder))[1], content(session.history)[1]
        assert len(stored) in {11, 12}  # the thread may have reached the first poll only afterwards
        assert exact(stored) == exact(kept[-len(stored) :])


@pytest.mark.parametrize("trouble", [full, locked])
def test_trouble_in_the_middle_costs_the_polls_meanwhile_and_nothing_else(trouble: Trouble) -> None:
    with folder_for_anyone() as place:
        folder, outcomes = place / "a@b", life(9)
        session = Session(folder)
        session.take(outcomes[:1])
        assert session.ready.wait(PATIENCE_S)
        with trouble(folder) as reason:
            session.take(outcomes[1:2], is_kept=False)
            assert session.line() == f"no history is kept: {reason} ({place})"
        session.take(outcomes[2:])
        assert session.close() == ["history is kept again"]
        assert session.is_exact


def test_a_slow_disk_costs_polls_and_no_time(tmp_path: Path) -> None:
    goes_on = threading.Event()
    session, outcomes = Session(tmp_path, prepare=lambda: goes_on.wait(PATIENCE_S) and None), life(20)
    session.take(outcomes[:12])
    session.take(outcomes[12:15], is_kept=False)
    assert session.line().startswith("no history is kept: the disk is too slow; ")
    goes_on.set()
    assert session.line() == "history is kept again"
    session.take(outcomes[15:])
    assert session.close() == []
    assert session.is_exact
    assert kinds(tmp_path / TODAY)[11:14] == [FrameKind.STEP, FrameKind.KEY, FrameKind.STEP]


@pytest.mark.parametrize("ends", ["is prepared", "is closed"])
def test_a_reader_waits_until_the_recorder_is_prepared_or_closed(tmp_path: Path, ends: str) -> None:
    goes_on = threading.Event()
    session = Session(tmp_path, prepare=lambda: goes_on.wait(PATIENCE_S) and None)
    session.take(life(1))
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(session.recorder.wait)
        wait([reading], timeout=0.05)
        assert not reading.done()
        if ends == "is prepared":
            goes_on.set()
        else:
            session.recorder.close(0)
        reading.result(PATIENCE_S)
    goes_on.set()
    session.close()


def test_of_two_at_once_one_records_and_the_other_takes_over_at_its_end(tmp_path: Path) -> None:
    one, outcomes = Session(tmp_path), life(12)
    one.take(outcomes[:1])
    assert one.ready.wait(PATIENCE_S)
    two = Session(tmp_path)
    two.take(outcomes[:4])
    assert two.ready.wait(PATIENCE_S)
    one.take(outcomes[1:4])
    assert one.close() == []
    two.take(outcomes[4:])
    assert two.close() == []
    _, moments, _ = content(StoredPast(tmp_path))
    assert exact(moments[:4]) == exact(content(one.history)[1])
    taken_over = moments[4:]
    assert 8 <= len(taken_over) <= 12  # the first polls may have waited for the other recorder's end
    assert exact(taken_over) == exact(content(two.history)[1][-len(taken_over) :])
    assert kinds(tmp_path / TODAY)[4] is FrameKind.KEY


@pytest.mark.parametrize("takes_over", [False, True])
def test_of_two_recorders_over_midnight_no_poll_is_lost_and_each_day_is_read(
    tmp_path: Path, *, takes_over: bool
) -> None:
    """The second recorder takes over right before midnight, or records nothing."""
    midnight = NOW - NOW % DAY + DAY
    outcomes = life(12, midnight - 30_000)
    one, two = Session(tmp_path), Session(tmp_path)
    one.take(outcomes[:1])
    assert one.ready.wait(PATIENCE_S)
    two.take(outcomes[:6])
    one.take(outcomes[1:6])
    if takes_over:
        assert one.close() == []
    else:
        one.take(outcomes[6:])
    two.take(outcomes[6:])
    assert [two.close(), one.close()] == [[], []]
    assert [path.name for path in day_paths(tmp_path)] == [TODAY, TOMORROW]
    polls, moments, _ = content(StoredPast(tmp_path))
    all_polls = content(two.history)[0]
    assert {poll.at for poll in polls} == {poll.at for poll in all_polls}
    assert len(moments) == len(polls)
    if not takes_over:
        assert len(polls) == len(all_polls)


def test_a_recorder_without_its_folder_is_ready_as_another_records(tmp_path: Path) -> None:
    folder, outcomes = tmp_path / "history", life(3)
    one = Session(folder)
    one.take([failed(at=NOW - 5000)])
    while not content(StoredPast(folder))[0]:  # afterwards the recorder has the lock and a poll
        assert one.said.empty()
    folder.rename(tmp_path / "moved")
    other = FolderWriter(folder, Retention())
    record(other, outcomes)
    assert not one.ready.is_set()
    one.take(outcomes, is_kept=False)
    assert one.ready.wait(PATIENCE_S)
    assert one.close() == []
    assert len(content(StoredPast(folder))[0]) == 3
    other.close()


def test_events_without_a_poll_and_of_another_profile_are_recorded(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = HistoryRecorder({A: tmp_path / "a@h", B: tmp_path / "b@h"}, notify=said.append)
    monitor = Monitor.create({A: Limits(), B: Limits(), OTHER: Limits()})
    events = tuple(Event(kind=Kind.BLIND, at=ServerMs(NOW + n), profile=p) for n, p in enumerate((A, B, OTHER, A)))
    recorder.record(monitor, MonitorChanges(reading(NOW), events=events))
    outcome = listed(beating(3))
    monitor, changes = monitor.apply(A, outcome, outcome.ended)
    recorder.record(monitor, changes._replace(events=events))
    monitor, changes = monitor.apply(OTHER, outcome, outcome.ended)
    recorder.record(monitor, changes)
    recorder.close(PATIENCE_S)
    a, b = (content(StoredPast(tmp_path / f"{profile}@h", profile)) for profile in (A, B))
    assert a[2] == [events[0], events[3]] * 2
    assert b[2] == [events[1]] * 2
    assert (len(a[0]), len(b[0])) == (1, 0)
    assert said == []


def test_trouble_of_one_profile_is_said_once_and_costs_another_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad").touch()
    said: list[str] = []
    folders = {A: tmp_path / "bad" / "a", B: tmp_path / "good", OTHER: tmp_path / "bad" / "other"}
    recorder = HistoryRecorder(folders, notify=said.append)
    monitor, outcome = Monitor.create(dict.fromkeys(folders, Limits())), listed(beating(3))
    for profile in [*folders, *folders]:
        monitor, changes = monitor.apply(profile, outcome, outcome.ended)
        recorder.record(monitor, changes)
    recorder.close(PATIENCE_S)
    assert len(content(StoredPast(tmp_path / "good", B))[0]) == 2
    assert len(said) == 1


def test_acknowledgements_of_the_fleets_own_rows_are_recorded(tmp_path: Path) -> None:
    session, down = Session(tmp_path), listed(beating(2, connectionId=None))
    session.take([down])
    own = ack_of(session.monitor.fleet.by_profile[NO_PROFILE].environments[clean("env-1")], NOW, clean("known"))
    session.monitor = session.monitor.with_acks({key_of("env-1"): own, key_of("another's"): Ack(NOW, clean(""))})
    session.take([down])
    session.close()
    _, moments, _ = content(StoredPast(tmp_path))
    assert [moment.acks for moment in moments] == [{}, {clean("env-1"): own}]


NEVER_S = 1e6

WITHOUT_SQLITE = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlite3":
            raise ImportError("no SQLite")

sys.meta_path.insert(0, Without())
from pathlib import Path
from support.builders import beating, listed
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import HistoryError
from envwatch.alerts.monitor import Monitor
from envwatch.model.limits import Limits
from envwatch.history.stored import utc_day, day_path
from envwatch.history.stored import StoredPast, day_paths
from envwatch.history.recorder import HistoryRecorder

folder = Path(sys.argv[1])
day_path(folder, utc_day(0)).touch()
recorder = HistoryRecorder({NO_PROFILE: folder}, notify=print)
outcome = listed(beating(2))
monitor, changes = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)
recorder.record(monitor, changes)
recorder.close(60.0)
try:
    list(StoredPast(folder).steps(0, 1))
except HistoryError as error:
    print("reading:", error)
"""


def test_nothing_is_written_before_the_first_outcome_and_its_delay(tmp_path: Path) -> None:
    """The thread imports the writer after the first outcome. An early end writes the waiting outcomes."""
    prepared = list[int]()
    session = Session(tmp_path, prepare=lambda: prepared.append(1))
    assert session.close() == []
    assert (prepared, [*tmp_path.iterdir()]) == ([], [])
    session = Session(tmp_path, delay_s=0.05)
    session.take(life(2))
    assert session.ready.wait(PATIENCE_S)
    assert session.close() == []
    session = Session(tmp_path / "early", delay_s=NEVER_S)
    session.take(life(2))
    assert not (tmp_path / "early").exists()
    assert session.close() == []
    assert session.is_exact


def test_a_python_without_sqlite_is_one_line_and_keeps_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SQLITE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "no history is kept: no SQLite; set history = false, or use a Python with SQLite",
        "reading: no SQLite",
    ]
