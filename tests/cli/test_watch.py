"""`envwatch watch` and `envwatch wait` as users run them: real programs, real servers, real pipes and signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.budget import first_quick
from support.builders import wire_row, wire_rows
from support.faulty_server import KEY, Faulty, faulty_server, says
from support.pty_terminal import Terminal, environment

from envwatch.cli.arguments import Exit, options_in
from envwatch.cli.commands.watch import stream_of
from envwatch.config.settings import DEFAULT, Sources, settings_of
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, acknowledged, merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

ENVWATCH = (sys.executable, "-m", "envwatch")
TIMEOUT_S = programs.TIMEOUT_S
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
        async with asyncio.timeout(TIMEOUT_S):
            line = (await self.reader.readline()).decode()
        assert line.endswith("\n"), self.errors.read_text()
        return line.removesuffix("\n")

    async def ended(self, *, within: float = TIMEOUT_S) -> int:
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


async def test_a_line_is_in_the_pipe_when_its_poll_is_judged_and_a_signal_ends_it(tmp_path: Path) -> None:
    """The dashboard's acknowledgement on this server is known, and ends when the environment is back."""
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
                watch.process.send_signal(signal.SIGTERM)
                assert await watch.ended() == Exit.TERMINATED
                assert await watch.reader.read() == b""
            manager.setblocking(False)
            messages = [manager.recv(100) for _ in range(4)]
    assert acknowledged(acks) == {there: ack}
    assert " every 1 s, with the key from LETTA_API_KEY" in acks.with_name("envwatch.log").read_text()
    assert messages[0] == b"READY=1"
    assert messages[1:3] == [b"WATCHDOG=1"] * 2
    assert (
        (tmp_path / "errors")
        .read_text()
        .startswith(f"envwatch: watching {server.url.removeprefix('http://')} every 1 s")
    )


async def test_an_interrupt_and_a_closed_pipe_end_it_without_a_word_though_nothing_happens(tmp_path: Path) -> None:
    async with faulty_server(fresh(1)) as server:
        environ = environ_for(server, tmp_path)
        async with running(environ, tmp_path, "watch", "--initial") as watch:
            assert " initial " in await watch.line()
            watch.process.send_signal(signal.SIGINT)
            assert await watch.ended() == Exit.INTERRUPTED
        async with running(environ, tmp_path, "watch", "--initial") as watch:
            assert " initial " in await watch.line()
            watch.reader._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  our end of the pipe
            assert await watch.ended() == Exit.BROKEN_PIPE
        assert watch.errors.read_text().count("\n") == 1


async def test_it_survives_a_server_that_fails_and_tells_people_beside_the_lines(tmp_path: Path) -> None:
    async with faulty_server(fresh(1)) as server:
        environ = environ_for(server, tmp_path)
        async with running(environ, tmp_path, "watch", "--initial", "--interval=1s") as watch:
            assert " initial " in await watch.line()
            server.break_every_page(says(500))
            assert " failing " in await watch.line()
            server.heal()
            server.rows = fresh(2)
            words = [(await watch.line()).split()[1] for _ in range(2)]
            assert words == ["reached", "appeared"]
            watch.process.send_signal(signal.SIGINT)
            await watch.ended()
        narration = watch.errors.read_text().splitlines()
    assert [line.split(":")[0] for line in narration] == ["envwatch"] * 3
    assert "polls fail" in narration[1]
    assert "polls succeed again" in narration[2]


async def test_since_tells_what_was_recorded_and_then_goes_on_without_a_gap_or_a_repetition(tmp_path: Path) -> None:
    """Also next to a recording process; without a history, `--since` is a mistake."""

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
                for each in (recording, beside):
                    assert (await event(each))["data"]["after"] == "acceptEdits"
            async with running(environ, tmp_path, "watch", "--since=1h", "--filter=env-1") as text:
                lines = [await text.line() for _ in range(5)]
                assert [line.split()[1] for line in lines] == ["while-blind", *["mode"] * 4]
                assert "  nothing was recorded for 59m" in lines[0]
        done = await asyncio.to_thread(
            programs.run, [*ENVWATCH, "watch", "--since", "1h", "--no-history"], environ_for(server, tmp_path)
        )
    assert (done.returncode, done.stdout) == (Exit.USAGE, b"")
    assert b"--since needs the history: set history = true" in done.stderr


@pytest.mark.parametrize("output", ["text", "jsonl"])
async def test_a_view_and_a_filter_choose_the_rows_together(output: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('view = "other"\nfilter = "name:nothing"\n[views.ml]\nfilter = "name:ml-*"\n[views.other]\n')
    names = ("ml-1", "ml-2", "web-1")

    def rows(mode: str) -> list[dict[str, object]]:
        return [wire_row(f"env-{name}", connectionName=name, currentMode=mode) for name in names]

    async with faulty_server(rows("standard")) as server:
        environ = environ_for(server, tmp_path, ENVWATCH_CONFIG=str(config))
        choice = ("--view", "ml", "--filter", "!name:ml-1")
        async with running(environ, tmp_path, "watch", "--initial", "--interval=1s", "-o", output, *choice) as watch:
            lines = [await watch.line()]
            server.rows = rows("unrestricted")
            lines.append(await watch.line())
    assert [[name for name in names if name in line] for line in lines] == [["ml-2"], ["ml-2"]]
    assert [word in line for word, line in zip(("initial", "mode"), lines, strict=True)] == [True, True]


def test_a_built_in_view_of_watch_is_a_filter() -> None:
    settings = settings_of(Sources(), "default", DEFAULT)
    options = options_in(["watch", "--view", "offline", "--filter", "name:a"])
    assert str(stream_of(options, settings, {}, clean("default")).query) == "name:a status:offline,gone"


async def test_wait_comes_back_when_it_comes_about(tmp_path: Path) -> None:
    arguments = ("wait", "--interval=1s", "appeared*env-2")
    async with (
        faulty_server(fresh(1, **OFF)) as server,
        running(environ_for(server, tmp_path), tmp_path, *arguments) as wait,
    ):
        await server.settled(1)
        server.rows = [*fresh(1, **OFF), wire_row("env-2", connectionName="appeared as env-2")]
        assert await wait.line() == "appeared as env-2"
        assert await wait.ended() == Exit.FINE


async def test_a_terminal_gets_one_line_of_progress_and_nothing_stays_of_it(tmp_path: Path) -> None:
    async with faulty_server(fresh(1)) as server:
        arguments = ("wait", "pod:p-9", "--interval=1s", "--timeout=2s")
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
        with Terminal.of_envwatch(*arguments, home=tmp_path, environ=environ) as terminal:
            await asyncio.to_thread(terminal.wait_for, "0 of 1 match")
            await asyncio.to_thread(terminal.wait_for, "after 2s, 0 of 1 match: pod:p-9")
            assert "waiting" not in terminal.text
        assert b"\x1b" not in terminal.received


@pytest.mark.parametrize("arguments", first_quick([("wait", "mode:standard"), ("watch", "--for", "1s")]))
async def test_neither_imports_a_terminal_library(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys; from envwatch.cli.main import main; code = main(); "
        "sys.exit(code or sorted({'textual', 'rich', 'click'} & set(sys.modules)) or 0)"
    )
    async with faulty_server(fresh(1)) as server:
        command = [sys.executable, "-c", program, *arguments]
        done = await asyncio.to_thread(programs.run, command, environ_for(server, tmp_path))
    assert done.returncode == 0, done.stderr
