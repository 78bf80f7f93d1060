"""`envwatch watch`, `wait` and `hooks`: lines when polls are judged, earlier events, a refused key, signals, messages.

The transcripts have the lines, the failures and the ends; `tests/watch` has the loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.builders import NOW, beating, reading, wire_row, wire_rows
from support.fake_clock import Answer, Script, World, error, taken, targets_of, until
from support.faulty_server import KEY, Faulty, faulty_server, says
from support.memory_history import MemoryHistory
from support.pty_terminal import Terminal, environment
from support.receiver import Answer as Answered
from support.receiver import receiver

from envwatch.cli.arguments import Exit, StopError, options_in
from envwatch.cli.commands.watch import EarlierEvents, build_stream
from envwatch.cli.running import refusal_check, run_until_signalled
from envwatch.config.settings import read_settings
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.outcome import Cause, ListedPage, Snapshot
from envwatch.model.text import clean
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, ALERT_STATE, acknowledged, merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from support.in_process import Envwatch

    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import RecordedPoll

# In the test's process.

LISTING = Snapshot.of_pages(pages=(ListedPage(beating(3), reading().wall),), requests=1)
REFUSED = error(Cause.UNAUTHORIZED)


async def refused(world: World, *scripts: Script, seconds: float = 400) -> tuple[float, str] | None:
    """Return time and reason of the end by a refused key, or None."""
    check = refusal_check(targets_of(world, *scripts))
    try:
        await taken(world, *scripts, deadline=until(world, seconds), check=check)
    except StopError as stop:
        return world.now, f"{stop.code.name}: {stop}"
    return None


@pytest.mark.parametrize(
    ("answers", "ends_at"),
    [
        ((REFUSED,), 30),
        ((LISTING, REFUSED), 35),
        ((REFUSED, LISTING, REFUSED, LISTING), None),
        ((REFUSED, LISTING), None),
        ((error(Cause.SERVER),), None),
    ],
)
async def test_a_run_ends_when_a_refused_key_is_refused_again(
    answers: tuple[Answer, ...], ends_at: float | None
) -> None:
    world = World()
    found = await refused(world, Script(world, *answers))
    if ends_at is None:
        assert found is None
    else:
        assert found is not None
        at, line = found
        assert ends_at - 2 <= at <= ends_at + 2
        assert line.startswith("AUTHENTICATION: refused again: ")


async def test_a_run_goes_on_while_another_profile_has_an_accepted_key() -> None:
    world = World()
    assert await refused(world, Script(world, REFUSED), Script(world, LISTING)) is None
    world = World()
    assert await refused(world, Script(world, REFUSED), Script(world, REFUSED)) is not None


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, Exit.HUNG_UP)]
)
def test_an_interrupted_run_cleans_up_and_has_the_code_of_the_signal(number: int, code: int) -> None:
    cleaned: list[int] = []

    async def main() -> int:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(number)
        return 0

    assert run_until_signalled(main) == code
    assert cleaned == [number]


@pytest.mark.parametrize(
    ("view", "query"), [("off", "name:a status:off,late,gone"), ("ml", "name:a name:ml-*"), (None, "name:a")]
)
def test_a_view_is_a_filter_next_to_the_option_and_the_filter_of_the_file_is_for_the_dashboard(
    tmp_path: Path, view: str | None, query: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('view = "other"\nfilter = "name:nothing"\n[views.ml]\nfilter = "name:ml-*"\n[views.other]\n')
    (settings,) = read_settings({"config": str(config)}, {})
    options = options_in(["watch", *(() if view is None else ("--view", view)), "--filter", "name:a"])
    assert str(build_stream(options, settings, {}, clean("default")).query) == query


class Stalled(MemoryHistory):
    """Starts reading, and returns nothing until allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()
        self.may_end = threading.Event()
        self.has_ended = False

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        self.is_read.set()
        self.may_end.wait(5)
        self.may_end.set()
        self.has_ended = True
        return super().polls(since, until)


async def read_until_cancelled(past: Stalled) -> None:
    since = datetime.fromtimestamp(NOW / 1000 - 60, UTC)
    task = asyncio.create_task(EarlierEvents.read({NO_PROFILE: past}, since, reading(NOW)))
    assert await asyncio.to_thread(past.is_read.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_end_does_not_wait_for_a_disk_without_an_answer() -> None:
    past = Stalled()
    asyncio.run(read_until_cancelled(past))
    assert not past.has_ended
    past.may_end.set()


# As a program.

ENVWATCH = (sys.executable, "-m", "envwatch")
OFF = {"connectionId": None, "lastHeartbeat": None}


def environ_for(server: Faulty, home: Path, key: str = KEY, **more: str) -> dict[str, str]:
    return environment(home, LETTA_API_KEY=key, LETTA_BASE_URL=server.url, **more)


@dataclass
class Running:
    process: programs.Program
    reader: asyncio.StreamReader
    reading: int
    errors: Path
    lines: list[str] = field(default_factory=list)

    async def line(self) -> str:
        async with asyncio.timeout(programs.TIMEOUT_S):
            line = (await self.reader.readline()).decode()
        assert line.endswith("\n"), self.errors.read_text()
        return line.removesuffix("\n")

    async def ended(self, *, within: float = programs.TIMEOUT_S) -> int:
        return await asyncio.to_thread(self.process.wait, within)


@asynccontextmanager
async def running(environ: Mapping[str, str], home: Path, *arguments: str) -> AsyncIterator[Running]:
    reading, writing = os.pipe()
    errors = home / "errors"
    with open(os.devnull, "rb") as stdin, errors.open("wb") as err:  # noqa: PTH123, ASYNC230
        streams = (stdin.fileno(), writing, err.fileno())
        process = programs.start([*ENVWATCH, *arguments], environ, streams, folder=home)
    os.close(writing)
    reader = asyncio.StreamReader()
    pipe = os.fdopen(reading, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        yield Running(process, reader, reading, errors)
    finally:
        transport.close()
        process.kill()
        process.wait()


def fresh(count: int, **of_first: object) -> list[dict[str, object]]:
    """Return rows that need no true clock: without heartbeats, only the connection counts."""
    rows = wire_rows(count)
    return [wire_row("env-1", **of_first), *rows[1:]]


async def test_a_line_is_in_the_pipe_when_its_poll_is_judged_and_a_signal_ends_the_watch(tmp_path: Path) -> None:
    """The dashboard's acknowledgement on this server is known, and holds for a minute after the return."""
    notify, acks = tmp_path / "notify", tmp_path / ".local/state/envwatch/acknowledged.json"
    acks.parent.mkdir(parents=True)
    ack = Ack(time.time() * 1000, clean("new disks"))
    async with faulty_server(fresh(2, **OFF)) as server:
        here, there = ((clean(each), clean("env-1")) for each in (server.url.removeprefix("http://"), "other.example"))
        merge(acks, ACKNOWLEDGEMENTS, {here: ack, there: ack})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(notify))
            environ = environ_for(server, tmp_path, NOTIFY_SOCKET=str(notify), WATCHDOG_USEC="60000000")
            async with running(environ, tmp_path, "watch", "--initial", "--interval=1s", "-o", "jsonl") as watch:
                initial = {(row := json.loads(await watch.line())["data"])["id"]: row for _ in range(2)}
                assert {id_: row["acknowledged"] for id_, row in initial.items()} == {
                    "env-1": "new disks",
                    "env-2": None,
                }
                server.rows = fresh(2, **OFF, currentMode="unrestricted")
                event = json.loads(await watch.line())
                assert event["type"] == "envwatch.environment.mode"
                assert event["source"] == f"{server.url}/v1/environments"
                server.rows = fresh(2, lastHeartbeat=time.time() * 1000, currentMode="unrestricted")
                event = json.loads(await watch.line())
                assert (event["type"], event["data"]["acknowledged"]) == ("envwatch.environment.online", None)
                server.break_every_page(says(500))
                assert json.loads(await watch.line())["type"] == "envwatch.failing"
                server.heal()
                assert json.loads(await watch.line())["type"] == "envwatch.reached"
                watch.process.send_signal(signal.SIGTERM)
                assert await watch.ended() == Exit.TERMINATED
                assert await watch.reader.read() == b""
            manager.setblocking(False)
            messages = [manager.recv(100) for _ in range(4)]
    assert acknowledged(acks) == {here: ack, there: ack}
    assert " every 1 s, with the key from LETTA_API_KEY" in acks.with_name("envwatch.log").read_text()
    assert messages[0] == b"READY=1"
    assert messages[1:3] == [b"WATCHDOG=1"] * 2
    narration = (tmp_path / "errors").read_text().splitlines()
    host = server.url.removeprefix("http://")
    assert narration[0] == f"envwatch: watching {host} every 1 s (profile default); ctrl+c ends it"
    assert "polls fail" in narration[1]
    assert "polls succeed again" in narration[2]


async def test_a_closed_pipe_ends_a_watch_without_events_without_a_word(tmp_path: Path) -> None:
    async with faulty_server(fresh(1)) as server:
        async with running(environ_for(server, tmp_path), tmp_path, "watch", "--initial") as watch:
            assert " initial " in await watch.line()
            watch.reader._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  our end of the pipe
            assert await watch.ended() == Exit.BROKEN_PIPE
        assert watch.errors.read_text().count("\n") == 1


@pytest.mark.slow
async def test_since_prints_the_record_and_then_goes_on_without_a_gap_or_a_repetition(tmp_path: Path) -> None:
    """Also next to a recording process."""

    async def event(watch: Running) -> dict[str, Any]:
        found = json.loads(await watch.line())
        assert isinstance(found, dict)
        return found

    def change(**changes: object) -> None:
        server.rows = fresh(2, **OFF, **changes)

    live = ("watch", "--interval=1s", "-o", "jsonl")
    async with faulty_server(fresh(2, **OFF)) as server:
        environ = environ_for(server, tmp_path)
        async with running(environ, tmp_path, *live, "--initial") as watch:
            await watch.line(), await watch.line()
            change(currentMode="plan")
            recorded = await event(watch)
            watch.process.send_signal(signal.SIGTERM)
            assert await watch.ended() == Exit.TERMINATED
        change(currentMode="unrestricted")
        async with running(environ, tmp_path, *live, "--since=1h") as recording:
            gap, again, between = [await event(recording) for _ in range(3)]
            assert (gap["type"], gap["data"]["reason"]) == ("envwatch.while-blind", "envwatch did not run")
            assert again | {"data": None} == recorded | {"data": None}
            assert (between["data"]["before"], between["data"]["after"]) == ("plan", "unrestricted")
            change(currentMode="standard")
            assert (await event(recording))["data"]["before"] == "unrestricted"
            async with running(environ, tmp_path, *live, "--since=now", "--initial") as beside:
                await beside.line(), await beside.line()
                change(currentMode="acceptEdits")
                # A busy machine may write the event before only now, and `--since=now` then prints that event too.
                for each in (recording, beside):
                    while (await event(each))["data"].get("after") != "acceptEdits":
                        pass
            async with running(environ, tmp_path, "watch", "--since=1h", "--filter=env-1") as text:
                lines = [await text.line() for _ in range(5)]
                assert [line.split()[1] for line in lines] == ["while-blind", *["mode"] * 4]
                assert "  nothing was recorded for 59m" in lines[0]


WAITING = (
    ("wait", "pod:p-9", "--interval=1s", "--timeout=2s"),
    "waiting .*no machine",
    "after 2s, no machine matches",
)
RECORDING = (("record", "--output=night.rec", "--interval=1s", "--for=3s"), "KiB in [0-9]+s", "KiB in night")


@pytest.mark.parametrize(("arguments", "progress", "end"), [WAITING, RECORDING], ids=["wait", "record"])
async def test_a_terminal_gets_one_line_of_progress_and_nothing_of_the_line_stays(
    arguments: tuple[str, ...], progress: str, end: str, tmp_path: Path
) -> None:
    async with faulty_server(fresh(1)) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
        with Terminal.of_envwatch(*arguments, home=tmp_path, environ=environ) as terminal:
            await asyncio.to_thread(terminal.wait_for, progress)
            await asyncio.to_thread(terminal.wait_for, end)
            assert not re.search(progress, terminal.text)
        assert b"\x1b" not in terminal.received


# Hooks.

ROUTING_KEY = "routing-key-0123456789abcdef"


def environ_of(home: Path, text: str, **more: str) -> dict[str, str]:
    path = home / "config.toml"
    path.write_text(text)
    named = {"ENVWATCH_CONFIG": str(path), "XDG_STATE_HOME": str(home / "state"), "PD_KEY": ROUTING_KEY}
    return environment(home, LETTA_API_KEY=KEY, **(named | more))


def test_a_hook_is_chosen_by_name_or_number(envwatch: Envwatch) -> None:
    envwatch.write_config('[[hooks]]\nname = "page"\ncommand = ["true"]\n[[hooks]]\ncommand = ["true"]\n')
    assert envwatch("hooks", "test", "page")[:2] == (0, "page  ok      opened and resolved\n")
    assert envwatch("hooks", "test", "2")[:2] == (0, "2  ok      opened and resolved\n")
    unknown = envwatch("hooks", "test", "pagr")
    assert (unknown.code, unknown.line) == (2, "there is no hook pagr; did you mean page?")


def test_one_bad_hook_stops_neither_the_others_nor_other_commands(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = wire_rows(1)
    good = '[[hooks]]\ncommand = ["true"]\n'
    for bad, what in (
        ('[[hooks]]\nname = "bad"\nurl_env = "UNSET"\n', "UNSET is not set"),
        ('[[hooks]]\nname = "bad"\nurl = "ftp://example.com"\n', "hooks.url cannot be used: the address must start"),
        ('[[hooks]]\nname = "bad"\n', "hooks needs what takes its messages"),
        ('[[hooks]]\nname = "bad"\ncommand = ["true"]\nafetr = "2m"\n', "hooks.afetr is no setting"),
    ):
        path = envwatch.write_config(bad + good)
        for command in ("list", "check", "alerts"):
            assert envwatch(command).code == 0
        tried = envwatch("hooks", "test")
        assert "2  ok      opened and resolved\n" in tried.out
        assert (tried.code, what in tried.out + tried.err) == (1, True)
        assert envwatch("hooks", "test", "2").code == 0
        assert what in envwatch("config", "validate").err
        watched = envwatch("watch", "--hooks", "--for", "1s", "--no-history")
        assert watched.code == 0
        (line,) = (line for line in watched.err.splitlines() if what in line)
        assert line.endswith(" (this hook sends nothing)")
        path.write_text(bad)
        refused = envwatch("watch", "--hooks", "--for", "1s", "--no-history")
        assert (refused.code, what in refused.err) == (2, True)


def test_the_dashboard_starts_with_a_bad_hook_and_names_it_in_the_line_of_news(faulty: Faulty, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[[hooks]]\ncommand = ["true"]\nafetr = "2m"\n')
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url, "ENVWATCH_CONFIG": str(path)}
    with Terminal.of_envwatch(home=tmp_path, columns=200, environ=environ) as terminal:
        terminal.wait_for("hooks.afetr is no setting; did you mean after. .this hook sends nothing.")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


async def test_each_hook_gets_an_incident_and_its_end_and_each_failure_is_named(tmp_path: Path) -> None:
    written = tmp_path / "written"
    async with receiver() as fine, receiver(Answered(202), Answered(400, '{"message": "no such team"}')) as wrong:
        text = f"""
[[hooks]]
name = "page"
command = ["sh", "-c", 'echo "$ENVWATCH_EVENT $LETTA_API_KEY$PD_KEY" >> {written}']
[[hooks]]
name = "gone"
command = ["/nonexistent/page"]
[[hooks]]
url = "{wrong.url}"
[[hooks]]
name = "duty"
url = "{fine.url}"
format = "pagerduty"
key_env = "PD_KEY"
"""
        environ = environ_of(tmp_path, text)
        done = await asyncio.to_thread(programs.run, [*ENVWATCH, "hooks", "test"], environ)
    assert done.returncode == 1
    lines = done.stdout.decode().splitlines()
    assert (lines[0], lines[3]) == ("page  ok      opened and resolved", "duty  ok      opened and resolved")
    assert lines[1].startswith("gone  failed  cannot run /nonexistent/page: No such file or directory (after ")
    assert lines[2].startswith("3  failed  127.0.0.1 answers 400: no such team (after ")
    assert written.read_text() == "incident opened \nincident resolved \n", "no key of the API or of another hook"
    first, last = [posted.json for posted in fine.posted]
    assert (first["event_action"], last["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == last["dedup_key"]
    assert first["routing_key"] == ROUTING_KEY
    assert not {secret for secret in (KEY, ROUTING_KEY, "t0") if secret.encode() in done.stdout + done.stderr}


WATCH = ("watch", "--hooks", "--interval=1s")


async def listed(server: Faulty, count: int) -> None:
    count += len(server.seen)
    async with asyncio.timeout(programs.TIMEOUT_S):
        while len(server.seen) < count:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


async def has_no_open_incident(state: Path) -> None:
    async with asyncio.timeout(programs.TIMEOUT_S):
        while (await asyncio.to_thread(ALERT_STATE.read, state)).content["open"]:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_an_incident_is_sent_by_one_run_and_its_end_by_the_next(tmp_path: Path) -> None:
    up = [wire_row(f"env-{number}", lastHeartbeat=time.time() * 1000) for number in (1, 2)]
    async with faulty_server(up) as server, receiver(Answered(503)) as service:
        text = f"""
alert_after = 0
online_for = "1h"
late_after = "30m"
[[hooks]]
name = "duty"
url = "{service.url}"
format = "pagerduty"
key_env = "PD_KEY"
[[hooks]]
name = "gone"
command = ["/nonexistent/page"]
"""
        environ = environ_of(tmp_path, text, LETTA_BASE_URL=server.url)
        async with running(environ, tmp_path, *WATCH) as first_run:
            await listed(server, 2)
            server.rows = [wire_row("env-1", **OFF), up[1]]
            first, second = [posted.json for posted in await service.have_come(2)]
            assert first == second, "tried again after the 503"
            await listed(server, 2)
            first_run.process.send_signal(signal.SIGTERM)
            assert await first_run.ended() == Exit.TERMINATED
            errors = first_run.errors.read_text()
        (kept,) = (tmp_path / "state" / "envwatch" / "alerts").glob("*.json")
        channels = ALERT_STATE.read(kept).content["ledger"][first["dedup_key"]]
        told = [hook for hook, announcement in channels.items() if announcement["progress"] == "told"]
        assert told == ["duty"], "the other hook has not sent it"
        async with running(environ, tmp_path, *WATCH) as second_run:
            await listed(server, 3)
            assert len(service.posted) == 2, "what is still open is not sent again"
            # A kill during a try of the other hook would leave a doubt, and the next run would try again.
            second_run.process.send_signal(signal.SIGTERM)
            assert await second_run.ended() == Exit.TERMINATED
        server.rows = up
        async with running(environ, tmp_path, *WATCH):
            resolved = (await service.have_come(3))[2].json
            await has_no_open_incident(kept)
    assert (first["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == resolved["dedup_key"]
    assert "(profile default), with 2 hooks; ctrl+c ends it" in errors
    assert errors.count("hook gone: cannot run /nonexistent/page") == 1
    assert "hook duty: 127.0.0.1 answers 503: next try" in errors
    assert "hook duty: works again, after 1 failure\n" in errors
    log = (tmp_path / "state" / "envwatch" / "envwatch.log").read_text()
    assert "hook duty: sent" in log
    assert not {secret for secret in (KEY, ROUTING_KEY, "t0") if secret in errors + log}
