"""`envwatch hooks test` and `watch --hooks`: real programs, a real server, a real web service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.budget import first_quick
from support.builders import wire_row, wire_rows
from support.faulty_server import KEY, Faulty, faulty_server
from support.pty_terminal import environment
from support.receiver import Answer, receiver

from envwatch.cli.arguments import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENVWATCH = (sys.executable, "-m", "envwatch")
OFF = {"connectionId": None, "lastHeartbeat": None}
ROUTING_KEY = "routing-key-0123456789abcdef"


def environ_of(home: Path, text: str, **more: str) -> dict[str, str]:
    path = home / "config.toml"
    path.write_text(text)
    named = {"ENVWATCH_CONFIG": str(path), "XDG_STATE_HOME": str(home / "state"), "PD_KEY": ROUTING_KEY}
    return environment(home, LETTA_API_KEY=KEY, **(named | more))


async def ended(environ: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(programs.run, [*ENVWATCH, *arguments], environ)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_each_hook_gets_an_incident_that_opens_and_resolves_and_each_failure_is_named(tmp_path: Path) -> None:
    written = tmp_path / "written"
    async with receiver() as fine, receiver(Answer(202), Answer(400, '{"message": "no such team"}')) as wrong:
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
        code, out, err = await ended(environ, "hooks", "test")
        one_code, one_out, _ = await ended(environ, "hooks", "test", "page")
        by_number, _, _ = await ended(environ, "hooks", "test", "4")
        unknown, _, unknown_err = await ended(environ, "hooks", "test", "pagr")
    assert code == 1
    lines = out.splitlines()
    assert (lines[0], lines[3]) == ("page  ok      opened and resolved", "duty  ok      opened and resolved")
    assert lines[1].startswith("gone  failed  cannot run /nonexistent/page: No such file or directory (after ")
    assert lines[2].startswith("3  failed  127.0.0.1 answers 400: no such team (after ")
    assert (one_code, one_out, by_number) == (0, "page  ok      opened and resolved\n", 0)
    assert (unknown, unknown_err) == (2, "envwatch: there is no hook pagr; did you mean page?\n")
    assert written.read_text() == "incident opened \nincident resolved \n" * 2, "no key of the API or of another hook"
    first, last = [posted.json for posted in fine.posted[:2]]
    assert (first["event_action"], last["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == last["dedup_key"]
    assert first["routing_key"] == ROUTING_KEY
    assert not {secret for secret in (KEY, ROUTING_KEY, "t0") if secret in out + err}


@contextmanager
def watching(environ: Mapping[str, str], home: Path, number: int) -> Iterator[programs.Program]:
    arguments = ["watch", "--hooks", "--interval=1s"]
    with open(os.devnull, "r+b") as nothing, (home / f"errors-{number}").open("wb") as errors:  # noqa: PTH123
        streams = (nothing.fileno(), nothing.fileno(), errors.fileno())
        process = programs.start([*ENVWATCH, *arguments], environ, streams, folder=home)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def listed(server: Faulty, count: int) -> None:
    count += len(server.seen)
    async with asyncio.timeout(programs.TIMEOUT_S):
        while len(server.seen) < count:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


async def has_no_open_incident(state: Path) -> None:
    async with asyncio.timeout(programs.TIMEOUT_S):
        while json.loads(await asyncio.to_thread(state.read_bytes))["open"]:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_an_incident_is_sent_by_one_run_and_its_end_by_the_next(tmp_path: Path) -> None:
    up = [wire_row(f"env-{number}", lastHeartbeat=time.time() * 1000) for number in (1, 2)]
    async with faulty_server(up) as server, receiver(Answer(503)) as service:
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
        with watching(environ, tmp_path, 1) as watch:
            await listed(server, 2)
            server.rows = [wire_row("env-1", **OFF), up[1]]
            first, second = [posted.json for posted in await service.have_come(2)]
            assert first == second, "tried again after the 503"
            await listed(server, 2)
            watch.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(watch.wait, programs.TIMEOUT_S) == Exit.TERMINATED
        (kept,) = (tmp_path / "state" / "envwatch" / "alerts").glob("*.json")
        channels = json.loads(kept.read_bytes())["ledger"][first["dedup_key"]]
        told = [hook for hook, announcement in channels.items() if announcement["progress"] == "told"]
        assert told == ["duty"], "the other hook has not sent it"
        with watching(environ, tmp_path, 2):
            await listed(server, 3)
            assert len(service.posted) == 2, "what is still open is not sent again"
        server.rows = up
        with watching(environ, tmp_path, 3):
            resolved = (await service.have_come(3))[2].json
            await has_no_open_incident(kept)
    assert (first["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == resolved["dedup_key"]
    errors = (tmp_path / "errors-1").read_text()
    assert "(profile default), with 2 hooks; ctrl+c ends it" in errors
    assert errors.count("hook gone: cannot run /nonexistent/page") == 1
    assert "hook duty: 127.0.0.1 answers 503: next try" in errors
    assert "hook duty: works again, after 1 failure\n" in errors
    log = (tmp_path / "state" / "envwatch" / "envwatch.log").read_text()
    assert "hook duty: sent" in log
    assert not {secret for secret in (KEY, ROUTING_KEY, "t0") if secret in errors + log}


@pytest.mark.parametrize("arguments", first_quick([("hooks", "test"), ("watch", "--hooks", "--for", "1s")]))
async def test_neither_hooks_nor_watch_with_hooks_imports_a_terminal_library(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    program = (
        "import sys; from envwatch.cli.main import main; code = main(); "
        "sys.exit(code or sorted({'textual', 'rich', 'click'} & set(sys.modules)) or 0)"
    )
    async with faulty_server(wire_rows(1)) as server, receiver() as service:
        environ = environ_of(tmp_path, f'[[hooks]]\nurl = "{service.url}"\n', LETTA_BASE_URL=server.url)
        done = await asyncio.to_thread(programs.run, [sys.executable, "-c", program, *arguments], environ)
    assert done.returncode == 0, done.stderr
