"""A team with one pager: the real `envwatch serve --hooks`, three people, and the number of messages."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import KEY, Faulty, faulty_server
from support.pty_terminal import environment
from support.receiver import Receiver, receiver
from support.serve_program import ENVWATCH, ServeProgram, serve_program, tokens_file, upstream

if TYPE_CHECKING:
    from pathlib import Path

ANN, BEN, CAT = (f"token-of-{name}-0123456789abcdef" for name in ("ann", "ben", "cat"))
OFF = {"connectionId": None, "lastHeartbeat": None}
UUID_LINE = 37


class Person:
    """A person with a token and a machine."""

    def __init__(self, token: str, home: Path) -> None:
        self._token, self._home = token, home
        home.mkdir()

    async def run(self, program: ServeProgram, *arguments: str) -> tuple[int, str, str]:
        environ = environment(self._home, LETTA_BASE_URL=program.urls[0], LETTA_API_KEY=self._token)
        done = await asyncio.to_thread(programs.run, [*ENVWATCH, "ack", *arguments], environ)
        return done.returncode, done.stdout.decode(), done.stderr.decode()


def actions(service: Receiver) -> list[str]:
    return [posted.json["event_action"] for posted in service.posted]


async def polled(server: Faulty, times: int) -> None:
    count = len(server.seen) + times
    async with asyncio.timeout(programs.TIMEOUT_S):
        while len(server.seen) < count:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


async def stored(home: Path, progress: str) -> None:
    async with asyncio.timeout(programs.TIMEOUT_S):
        while not any(f'"{progress}"' in path.read_text() for path in alert_states(home)):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)


def alert_states(home: Path) -> list[Path]:
    return [*(home / ".local" / "state" / "envwatch" / "alerts").glob("*.json")]


def people(tmp_path: Path) -> list[Person]:
    tokens_file(tmp_path, f"ann {ANN} ack\nben {BEN} ack\ncat {CAT}\n")
    return [Person(token, tmp_path / name) for name, token in (("ann", ANN), ("ben", BEN), ("cat", CAT))]


def environ_of(tmp_path: Path, server: Faulty, service: Receiver) -> dict[str, str]:
    config = tmp_path / "config.toml"
    config.write_text(f"""
alert = "id:*"
alert_after = 0
online_for = "1h"
late_after = "30m"
serve_tokens_file = "{tmp_path / ".config" / "envwatch" / "serve-tokens"}"
[[hooks]]
name = "duty"
url = "{service.url}"
format = "pagerduty"
key_env = "PD_KEY"
""")
    return upstream(tmp_path, server.url, KEY, ENVWATCH_CONFIG=str(config), PD_KEY="routing-key-0123456789")


@pytest.mark.slow
async def test_a_team_pages_once_acknowledges_once_and_pages_again_after_the_end(tmp_path: Path) -> None:
    ann, ben, cat = people(tmp_path)
    up = [wire_row(f"env-{number}", lastHeartbeat=time.time() * 1000) for number in (1, 2, 3)]
    async with faulty_server(up) as server, receiver() as service:
        environ = environ_of(tmp_path, server, service)
        with await asyncio.to_thread(lambda: serve_program(environ, tmp_path, "--hooks")) as program:
            await polled(server, 2)
            server.rows = [wire_row("env-1", **OFF), wire_row("env-2", **OFF), up[2]]
            opened = (await service.have_come(1))[0].json
            assert (await cat.run(program, "id:env-1"))[0] == 4, "without the right"
            both = await asyncio.gather(
                ann.run(program, "status:offline", "--yes", "--note", "disk swap"),
                ben.run(program, opened["dedup_key"], "--note", "me too"),
            )
            acknowledged = (await service.have_come(2))[1].json
            assert (opened["event_action"], acknowledged["event_action"]) == ("trigger", "acknowledge")
            assert opened["dedup_key"] == acknowledged["dedup_key"]
            winners = [out for _, out, _ in both if len(out) == UUID_LINE]
            (loser,) = [errors for _, out, errors in both if not out]
            assert len(winners) == 1
            assert "already acknowledged by " in loser
            listed = [json.loads((await each.run(program, "list", "-o", "json"))[1]) for each in (ann, ben, cat)]
            assert [[ack["uuid"] for ack in acks] for acks in listed] == [[winners[0].strip()] * 2] * 3
            await stored(tmp_path, "acked")
            program.process.kill()
            program.process.wait()
        # Nothing is sent twice by the next process, which knows the acknowledgement.
        with await asyncio.to_thread(lambda: serve_program(environ, tmp_path, "--hooks")) as program:
            await polled(server, 4)
            assert actions(service) == ["trigger", "acknowledge"]
            code, _, errors = await ben.run(program, "end", winners[0].strip())
            assert (code, errors.startswith("ended for everybody")) == (0, True), errors
            posted = [each.json for each in await service.have_come(4)]
            assert sorted(each["event_action"] for each in posted[2:]) == ["resolve", "trigger"]
            assert {each["dedup_key"] for each in posted[2:]} > {opened["dedup_key"]}
        gone = await ann.run(program, "id:env-1")
        assert gone[0] == 3
        assert not any((person / ".local").exists() for person in (tmp_path / "ann", tmp_path / "cat"))
    log = (tmp_path / ".local" / "state" / "envwatch" / "envwatch.log").read_text(errors="strict")
    assert "acknowledged 2 of 2 rows until back" in log
    assert "ben (127.0.0.1) ended" in log
    assert not {secret for secret in (KEY, ANN, BEN, CAT) if secret in log}
