"""Messages of `watch` hooks in one run and the next, step by step."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, failed, listed, reading
from support.recording import record
from support.scripted_watch import row

from envwatch.alerts.alert_state import AlertState
from envwatch.alerts.monitor import Monitor
from envwatch.config.hooks import HookSettings
from envwatch.deliver.message import Context, DeliveryError
from envwatch.files import ProcessLock
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.last_run import LastRun
from envwatch.history.stored import Retention
from envwatch.history.writer import FolderWriter
from envwatch.letta.poller import Runtime
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean
from envwatch.stored.entries import content_of_text
from envwatch.watch.alert_files import AlertFiles
from envwatch.watch.hooks import HookDispatch
from envwatch.watch.loop import News, Watch
from envwatch.watch.profiles import Profiles, SelectedProfile
from envwatch.watch.state_file import ALERT_STATE
from envwatch.watch.state_files import failing_hooks_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.deliver.message import Message
    from envwatch.deliver.runner import HookReport

CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="")
SOURCE = f"{CONTEXT.source}#"
HOOKS = (
    HookSettings.model_construct(name=clean("soon")),
    HookSettings.model_construct(name=clean("late"), filter="name:web", after=timedelta(minutes=30)),
)
GOLDEN = Path(__file__).parent / "golden" / "alerts.json"
NEW_HOOKS = (HookSettings.model_construct(name=clean("new")),)
EVENT_HOOKS = (HookSettings.model_construct(name=clean("each"), on=("offline", "online")),)


def files_at(
    path: Path, histories: Mapping[SafeText, Path] = MappingProxyType({}), hooks: Sequence[HookSettings] = HOOKS
) -> AlertFiles:
    names = frozenset(hook.name for hook in hooks)
    return AlertFiles({NO_PROFILE: path}, names, histories)


async def for_ever(event: asyncio.Event, _seconds: float) -> None:
    await event.wait()


@dataclass
class Inbox:
    name: str
    sent: list[str]
    is_down: bool
    path: Path
    at_try: list[bytes]
    """The alert state file at the begin of each try."""

    async def send(self, message: Message) -> SafeText:
        self.at_try.append(self.path.read_bytes() if self.path.exists() else b"")
        if self.is_down:
            raise DeliveryError("no answer")
        self.sent.append(f"{self.name} {message.variables['ENVWATCH_EVENT']}")
        return clean("")


@dataclass
class Run:
    folder: Path
    began_at: float
    is_down: bool = False
    hooks: Sequence[HookSettings] = HOOKS
    others: Sequence[str] = ("other",)
    up: Sequence[str] = ("other",)
    """The rows of `others` that are up."""
    sent: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    at_try: list[bytes] = field(default_factory=list)
    is_killed: bool = False
    """Whether the run ends after its newest delivery, without a last update."""

    @property
    def path(self) -> Path:
        return self.folder / "alerts" / "work.json"

    async def watch(self, *is_up: bool) -> Run:
        """Poll each minute; `is_up` is the state of `web`."""
        alerts = files_at(self.path, hooks=self.hooks)
        inboxes = {hook.name: Inbox(hook.name, self.sent, self.is_down, self.path, self.at_try) for hook in self.hooks}
        at = self.began_at
        runtime = Runtime(lambda: reading(at), for_ever)
        watch = Watch(Monitor.create({NO_PROFILE: Limits()}), runtime=runtime)
        has_failed = asyncio.Event()

        def report(line: HookReport) -> None:
            if line.is_failure:
                has_failed.set()

        dispatch = HookDispatch(
            watch,
            report,
            hooks=self.hooks,
            deliveries=inboxes,
            contexts={NO_PROFILE: CONTEXT},
            alerts=alerts,
            runtime=runtime,
            farewell=timedelta(),
        )
        async with dispatch.runner:
            for minute, up in enumerate(is_up):
                at = self.began_at + minute * 60_000
                rows = [row("web", at, is_up=up), *(row(name, at, is_up=name in self.up) for name in self.others)]
                news = News(taken_over=alerts.take_over(reading(at), self.warnings.append))
                dispatch.take(watch.take(NO_PROFILE, listed(rows, at), news))
                if not self.is_down:
                    await dispatch.runner.all_done()
                elif any(dispatch.runner.unsent(hook.name) for hook in self.hooks):
                    await has_failed.wait()
        if not self.is_killed:
            dispatch.store()
        alerts.close()
        return self

    def later(self, minutes: float, *, is_down: bool = False, hooks: Sequence[HookSettings] = HOOKS) -> Run:
        return Run(self.folder, self.began_at + minutes * 60_000, is_down, hooks)

    @property
    def open_incidents(self) -> Mapping[str, Any]:
        open_incidents: Mapping[str, Any] = ALERT_STATE.read(self.path).content["open"]
        return open_incidents


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "envwatch").mkdir()
    return tmp_path / "envwatch"


async def test_each_hook_sends_an_incident_once_over_three_runs(tmp_path: Path) -> None:
    first = await Run(tmp_path, NOW).watch(True, True, False, False, False, False)
    assert first.sent == ["soon incident opened"]
    second = await first.later(10).watch(*[False] * 35)
    assert second.sent == ["late incident opened"], "a restart loses an undelivered message"
    third = await second.later(100).watch(False, True, True, True)
    assert sorted(third.sent) == ["late incident resolved", "soon incident resolved"]
    assert third.open_incidents == {}
    assert (await third.later(50).watch(True, True)).sent == []


async def test_a_hook_for_events_is_told_of_each_event(tmp_path: Path) -> None:
    run = await Run(tmp_path, NOW, hooks=EVENT_HOOKS).watch(True, *[False] * 6, True, True)
    assert run.sent == ["each offline", "each online"]


async def test_an_undelivered_message_is_sent_by_the_next_run(tmp_path: Path) -> None:
    first = await Run(tmp_path, NOW, is_down=True).watch(True, True, False, False, False, False)
    second = await first.later(10).watch(False, False)
    assert (first.sent, second.sent) == ([], ["soon incident opened"])
    third = await second.later(20, is_down=True).watch(False, True, True, True)
    fourth = await third.later(30).watch(True, True, True)
    assert (third.sent, fourth.sent, fourth.open_incidents) == ([], ["soon incident resolved"], {})


async def test_a_try_is_on_the_disk_before_the_try(tmp_path: Path) -> None:
    run = await Run(tmp_path, NOW).watch(True, True, False, False, False, False)
    (text,) = run.at_try
    content = content_of_text(text.decode(), ALERT_STATE.parts).content
    (channels,) = content["ledger"].values()
    assert channels["soon"] == {"progress": "due", "at": run.began_at + 300_000, "tries": 1}
    assert content["open"].keys() == content["ledger"].keys()
    (channels,) = ALERT_STATE.read(run.path).content["ledger"].values()
    assert channels["soon"].keys() == {"progress", "at"}
    assert channels["soon"]["progress"] == "told"


@pytest.mark.parametrize("is_down", [True, False], ids=["not delivered", "delivered"])
async def test_a_kill_in_a_try_repeats_the_opening_and_no_end_comes_alone(tmp_path: Path, *, is_down: bool) -> None:
    first = await Run(tmp_path, NOW, is_down).watch(True, True, False, False, False, False)
    first.path.write_bytes(first.at_try[0])
    second = await first.later(10).watch(False, False)
    assert second.sent == ["soon incident opened"]
    second.path.write_bytes(first.at_try[0])
    third = await second.later(20).watch(True, True, True)
    assert third.sent == ["soon incident opened", "soon incident resolved"]
    assert third.open_incidents == {}


async def test_a_kill_after_a_delivery_repeats_nothing(tmp_path: Path) -> None:
    first = await Run(tmp_path, NOW, is_killed=True).watch(True, True, False, False, False, False)
    assert first.sent == ["soon incident opened"]
    assert (await first.later(10).watch(False, False)).sent == []


async def test_a_new_hook_is_told_of_an_open_incident_and_a_removed_hook_is_forgotten(tmp_path: Path) -> None:
    first = await Run(tmp_path, NOW).watch(True, True, False, False, False, False)
    second = await first.later(10, hooks=NEW_HOOKS).watch(False, False)
    assert second.sent == ["new incident opened"]
    third = await second.later(10, hooks=NEW_HOOKS).watch(True, True, True)
    assert (third.sent, third.open_incidents) == (["new incident resolved"], {})


async def test_a_file_of_the_present_format_is_taken_over(tmp_path: Path) -> None:
    """`soon` knows of `web`, which is down, and not of the end of `nas`; the loss of `db` waits."""
    run = Run(tmp_path, NOW + 180_000, others=("nas", "db", "other"), up=("nas", "other"))
    run.path.parent.mkdir()
    run.path.write_bytes(GOLDEN.read_bytes())
    await run.watch(*[False] * 4)
    assert run.sent == ["soon incident resolved", "soon incident opened"]
    assert [loss["id"] for each in run.open_incidents.values() for loss in each["losses"]] == ["web", "db"]
    assert run.warnings == []


async def test_a_file_of_another_format_is_set_aside_with_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path, NOW + 180_000)
    content = json.dumps(ALERT_STATE.read(GOLDEN).content, indent=2).encode()
    run.path.parent.mkdir()
    run.path.write_bytes(content)
    await run.watch(True, True, False, False, False, False)
    assert run.sent == ["soon incident opened"]
    aside = run.path.with_name(f"{run.path.name}.aside")
    assert aside.read_bytes() == content
    forgot = "forgot which alerts wait or are open: damaged"
    assert run.warnings == [f"{forgot} ({run.path}, kept as {aside.name})"]


async def test_only_one_process_runs_the_hooks_and_the_next_takes_over(tmp_path: Path) -> None:
    one, other = Run(tmp_path, NOW), Run(tmp_path, NOW)
    lock = ProcessLock(one.path.with_suffix(".lock"))
    assert lock.acquire()
    assert (await other.watch(True, True, False, False, False, False)).sent == []
    assert other.warnings == [f"hooks run in process {os.getpid()}; this process takes over when it ends"]
    lock.release()
    assert (await other.later(10).watch(False, True, False, False, False, False)).sent == ["soon incident opened"]


async def test_a_process_takes_over_from_the_file_of_the_other(tmp_path: Path) -> None:
    first = await Run(tmp_path, NOW).watch(True, True, False, False, False, False)
    assert first.sent == ["soon incident opened"]
    lock = ProcessLock(first.path.with_suffix(".lock"))
    assert lock.acquire()
    waiting = files_at(first.path)
    now = reading(NOW + 600_000)
    assert (waiting.take_over(now, print), waiting.held) == ({}, frozenset())
    lock.release()
    (state,) = waiting.take_over(now, print).values()
    assert state is not None
    assert [incident.id for incident in state.open] == [*first.open_incidents]
    assert [*state.ledger.announcements[state.open[0].id]] == ["soon"]
    assert waiting.held == {NO_PROFILE}
    waiting.close()


@pytest.mark.parametrize(
    ("damage", "online"), [(None, "ab"), ("number = 3", "abc"), ("1", "")], ids=["none", "the newest", "all"]
)
def test_without_a_file_the_newest_readable_listing_of_the_history_names_the_online_rows(
    tmp_path: Path, damage: str | None, online: str
) -> None:
    writer = FolderWriter(tmp_path / "history", Retention())
    polls = [
        listed([row(name, NOW + 5_000 * at, is_up=name in up) for name in "abcd"], NOW + 5_000 * at)
        for at, up in enumerate(["abcd", "abc", "ab"])
    ]
    record(writer, [*polls, failed(at=NOW + 15_000)])
    writer.close()
    if damage is not None:
        (path,) = (tmp_path / "history").glob("*.sqlite")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE frames SET data = x'00' WHERE {damage}")
    files = files_at(tmp_path / "work.json", {NO_PROFILE: tmp_path / "history"})
    lines: list[str] = []
    state = files.take_over(reading(NOW + 60_000), lines.append)[NO_PROFILE]
    assert (set() if state is None else state.last_run.ids_up) == set(online)
    assert len(lines) == bool(online)
    files.close()


async def test_where_the_lock_cannot_be_used_the_hooks_run_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "alerts").write_text("no folder")
    one = await Run(tmp_path, NOW).watch(True, True, False, False, False, False)
    assert one.sent == ["soon incident opened"]
    assert one.warnings[0].startswith("two processes may run the hooks: ")


@pytest.mark.parametrize(("later", "written"), [(59_999, 0), (60_000, 60_000), (-1, -1)])
def test_an_unchanged_state_is_written_once_a_minute(later: float, written: float, tmp_path: Path) -> None:
    """A clock that was set back must not stop writes for hours."""
    path = tmp_path / "alerts" / "work.json"
    files = files_at(path)
    files.take_over(reading(NOW), print)
    for at in (NOW, WallMs(NOW + later)):
        files.keep(NO_PROFILE, AlertState(last_run=LastRun(WallMs(at))), reading(at))
    files.close()
    assert ALERT_STATE.read(path).content["looked_at"] == NOW + written


@pytest.mark.parametrize(("later", "known"), [(299_999, True), (300_000, False)])
def test_a_dashboard_knows_the_failing_hooks_of_a_running_process(
    later: float, *, known: bool, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = state_folder / "alerts" / "work.json"
    monkeypatch.setattr("envwatch.watch.state_files.alert_file_for", lambda *_profile: path)
    profiles = Profiles({NO_PROFILE: SelectedProfile(None, None)})  # type: ignore[arg-type]
    newest = failing_hooks_of(profiles)
    assert newest(reading(NOW)) == {}
    files = files_at(path)
    files.take_over(reading(NOW), print)
    since = {clean("page"): WallMs(NOW - 700_000)}
    files.keep(NO_PROFILE, AlertState(last_run=LastRun(WallMs(NOW - 1_000_000)), failing=since), reading(NOW))
    files.close()
    assert newest(reading(NOW + later)) == (since if known else {})
