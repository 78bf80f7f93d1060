"""Viewers of the real `envwatch serve`: the real dashboard in a terminal, `list`, many clients, and a team's pager."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import KEY, Faulty, How, Stop, Where, down, faulty_server, serving, skewed, up
from support.load import at_most
from support.programs import TIMEOUT_S, wait_until
from support.pty_terminal import Terminal, environment
from support.receiver import Receiver, receiver
from support.serve_program import ENVWATCH, LISTING, TOKEN, ServeProgram, run, serve_program, tokens_file
from support.serve_program import upstream as asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BLIND_WITHIN_S = 120.0
LOST_AT = time.time() * 1000 - 3_600_000


def fleet(now: float, name: str = "studio") -> list[dict[str, Any]]:
    """Return 41 rows: two are down, one since an hour, one by a heartbeat of 140 s ago."""
    silent = up("silent", now - 135_000)
    return [
        up("env-0", now, connectionName=name),
        *(up(f"env-{n}", now) for n in range(1, 39)),
        silent,
        down("off", LOST_AT),
    ]


class Team(NamedTuple):
    upstream: Faulty
    served: ServeProgram
    home: Path

    @property
    def polls(self) -> int:
        """Number of complete listings in the log of `serve`."""
        log = self.home / "serve.log"
        return log.read_text().count(" poll: ") if log.exists() else 0

    def viewer(self) -> dict[str, str]:
        (self.home / "viewer").mkdir(exist_ok=True)
        return asking(self.home / "viewer", self.served.urls[0], TOKEN)

    def direct(self) -> dict[str, str]:
        (self.home / "direct").mkdir(exist_ok=True)
        return asking(self.home / "direct", self.upstream.url, KEY)

    def states(self, environ: dict[str, str]) -> dict[str, str]:
        done = run(environ, "list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {row["id"]: row["state"] for row in json.loads(done.stdout)["environments"]}


@contextmanager
def team(home: Path, *, is_open: bool = True) -> Iterator[Team]:
    with serving(fleet) as upstream:
        if not is_open:
            upstream.shut()
        tokens_file(home)
        arguments = ("--no-history", "--log-file", str(home / "serve.log"))
        with serve_program(asking(home, upstream.url, KEY), home, *arguments) as served:
            yield Team(upstream, served, home)


@contextmanager
def dashboard(environ: dict[str, str]) -> Iterator[Terminal]:
    log = f"{environ['HOME']}/envwatch.log"
    command = ("--interval", "1s", "--no-history", "--log-file", log)
    more = {name: environ[name] for name in ("LETTA_BASE_URL", "LETTA_API_KEY")}
    with Terminal.of_envwatch(*command, home=Path(environ["HOME"]), environ=more) as terminal:
        yield terminal


@pytest.mark.slow
def test_a_viewer_sees_the_begin_a_change_true_verdicts_and_the_end_of_a_server(tmp_path: Path) -> None:
    with team(tmp_path, is_open=False) as here, dashboard(here.viewer()) as terminal:
        for columns, lines in ((120, 36), (80, 24)):
            terminal.resize(columns, lines)
            terminal.wait_for(r"(?s)envwatch serve has.*no data yet.*nothing.*listens at")
        here.upstream.open()
        terminal.wait_for(r"● 39 on .* live ", within=90)

        with at_most(10):  # mostly the server's interval, one second here, plus the viewer's
            here.upstream.script = lambda now: fleet(now, "changed")
            terminal.wait_for(" changed ")

        here.upstream.break_every_page(skewed(3_600))
        polls = here.polls
        wait_until(lambda: here.polls >= polls + 3, "three polls by a date that is an hour off")
        wait_until(
            lambda: here.states(here.viewer()) == here.states(here.direct()), "the verdicts of a direct observer"
        )
        assert [*here.states(here.viewer()).values()].count("online") == 39
        terminal.wait_for("● 39 on")

        assert here.served.end() == 143
        port = here.served.port
        with socket.socket() as bound:
            # The port stays bound without a listener: a port that is free may be another test's server a moment later.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", port))
            words = f"nothing listens at 127.0.0.1:{port}", "envwatch serve is stopping"
            pattern = "|".join(r"\s+".join(map(re.escape, text.split())) for text in words)
            terminal.wait_for(pattern, within=60)


@pytest.mark.slow
async def test_upstream_is_asked_no_more_often_by_a_hundred_viewers_than_by_one(tmp_path: Path) -> None:
    viewers, seconds = 100, 20
    with team(tmp_path) as here:
        await asyncio.to_thread(wait_until, lambda: here.polls, "a first listing")
        for count in (1, viewers):
            answers: list[int] = []
            began, requests, polls = time.monotonic(), len(here.upstream.seen), here.polls
            async with crowd(here.served.urls[0], count, answers):
                await asyncio.sleep(seconds)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TIMEOUT_S):
                        while len(answers) < count * seconds / 4:  # noqa: ASYNC110  the clients are other tasks
                            await asyncio.sleep(0.1)
                requests, polls = len(here.upstream.seen) - requests, here.polls - polls
                took_s = time.monotonic() - began
            assert set(answers) == {httpx.codes.OK}
            assert len(answers) >= count * seconds / 4, "the viewers did poll"
            assert abs(requests - polls) <= 1, "each request is one poll of the server"
            # The server polls every second, up to a tenth early.
            assert requests <= took_s / 0.9 + 2, f"{requests} requests in {took_s:.1f} s with {count} viewers"


@contextlib.asynccontextmanager
async def crowd(url: str, viewers: int, answers: list[int]) -> AsyncIterator[None]:
    """Let viewers poll every second, each on a connection of its own; note the status of each answer."""
    limits = httpx.Limits(max_connections=viewers, max_keepalive_connections=viewers)
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def view(client: httpx.AsyncClient, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while True:
            answers.append((await client.get(LISTING, params={"limit": "100"})).status_code)
            await asyncio.sleep(1)

    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=TIMEOUT_S) as client:
        tasks = [asyncio.create_task(view(client, number / viewers)) for number in range(viewers)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.slow
def test_a_stall_and_blindness_reach_a_viewer_with_the_cause_and_end_within_two_polls(tmp_path: Path) -> None:
    with team(tmp_path) as here, dashboard(here.viewer()) as terminal:
        terminal.wait_for(r"● \d\d on .* live ")
        here.upstream.break_every_page(Stop(Where.REQUEST, How.HANG))
        terminal.wait_for(r"DATA \? stale \d+s", within=60)
        assert re.search(r"● \d\d on", terminal.text), "stale rows keep their verdicts"
        here.upstream.heal()
        terminal.wait_for(r"● \d\d on .* live ", within=90)
        here.upstream.shut()
        for columns, lines in ((80, 24), (120, 36)):
            terminal.resize(columns, lines)
            terminal.wait_for(r" \? \d\d unknown {2,}BLIND \d+s", within=BLIND_WITHIN_S)
            # The message takes two lines; the break depends on the numbers.
            terminal.wait_for(r"(?s)envwatch serve has.*had no.*data for.*\d+\s+s:.*nothing.*listens at")
        answer = here.served.ask()
        assert (answer.status, answer.json["errorCode"]) == (503, "envwatch_blind")
        assert "nothing listens at" in answer.json["error"]
        assert b"envwatch_environment_up" not in here.served.ask("/metrics").body
        here.upstream.open()
        polls = here.polls
        wait_until(lambda: here.polls > polls, "the server has a listing again", within=90)
        failed = _failed_polls(here)
        terminal.wait_for(r"● \d\d on .* live ")
        assert _failed_polls(here) - failed <= 2, "back within two polls"


def _failed_polls(here: Team) -> int:
    return (here.home / "viewer" / "envwatch.log").read_text().count("poll failed")


# -- a team with one pager ---------------------------------------------------------------------------------------------
ANN, BEN, CAT = (f"token-of-{name}-0123456789abcdef" for name in ("ann", "ben", "cat"))
OFF = {"connectionId": None, "lastHeartbeat": None}
ID_LINE = 9


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
    return asking(tmp_path, server.url, KEY, ENVWATCH_CONFIG=str(config), PD_KEY="routing-key-0123456789")


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
            winners = [out for _, out, _ in both if len(out) == ID_LINE]
            (loser,) = [errors for _, out, errors in both if not out]
            assert len(winners) == 1
            assert "already acknowledged by " in loser
            listed = [json.loads((await each.run(program, "list", "-o", "json"))[1]) for each in (ann, ben, cat)]
            assert [[ack["uuid"][:8] for ack in acks] for acks in listed] == [[winners[0].strip()] * 2] * 3
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
    assert "acknowledged 2 of 2 machines until back" in log
    assert "ben (127.0.0.1) ended" in log
    assert not {secret for secret in (KEY, ANN, BEN, CAT) if secret in log}
