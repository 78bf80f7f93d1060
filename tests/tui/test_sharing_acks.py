"""The key `a` with an envwatch server: the acknowledgement goes to the team's server, and nowhere else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged, target_of
from support.builders import environment, listed
from support.fake_clock import Script, World, walk
from support.policies import soon

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import ROWS_AT_ONCE, AckedRow, AckRequest, AckResult
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, RelayInfo, SourceError
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.acks import AckAnswer
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

UUID = "3e4d8dc4-6bf7-4d25-929f-0828ac746c6b"


@dataclass
class Server:
    """The server's side of a team, which answers when told."""

    results: dict[str, AckedRow] = field(default_factory=dict)
    error: Cause | None = None
    requests: list[AckRequest] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def acknowledge(self, _uuid: SafeText, request: AckRequest) -> AckAnswer:
        self.requests.append(request)
        await self._wait()
        return [self.results.get(each.id, AckedRow(each.id, AckResult.ACKED)) for each in request.losses]

    async def end(self, uuid: SafeText) -> None:
        self.ended.append(uuid)
        await self._wait()

    async def _wait(self) -> None:
        await self.may_answer.wait()
        if self.error is not None:
            raise SourceError(Failure(self.error, clean("watch:8283 says no")))


def served(stage: Stage, *rows: Environment) -> Listed:
    outcome = listed(rows, stage.at)
    return outcome._replace(snapshot=outcome.snapshot._replace(served=RelayInfo(0.0, is_envwatch=True)))


def lost(name: str, at: float, **changes: Any) -> Environment:
    off = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": at - 300_000}
    return environment(f"env-{name}", connectionName=name, **(off | changes))


@asynccontextmanager
async def viewer(server: Server | None, **options: Any) -> AsyncIterator[Stage]:
    """A viewer with two rows off and one on; the cursor is on the block's first line."""
    target = target_of(Poller(Script(World(), walk()), Limits()), "work")._replace(
        host="watch:8283", find_team=lambda: server
    )
    async with staged(targets={NO_PROFILE: target}, **options) as stage:
        up = [environment(f"env-{name}", connectionName=name, lastHeartbeat=stage.at) for name in ("a", "b", "c")]
        await stage.take(served(stage, *up))
        stage.now += 5
        await stage.take(served(stage, lost("a", stage.at), lost("b", stage.at), up[2]))
        await stage.press("home")
        yield stage


def message(stage: Stage) -> str:
    return stage.text.replace("\n", " ")


async def test_the_line_waits_for_the_answer_and_still_counts() -> None:
    server = Server()
    async with viewer(server) as stage:
        await stage.press("a")
        assert "for the team, until they recover" in stage.text
        await stage.type("disk")
        await stage.press("enter")
        assert "ack… · " in stage.text
        assert "2 off" in stage.lines[1]
        (request,) = server.requests
        assert ([loss.id for loss in request.losses], request.note, request.for_s) == (["env-a", "env-b"], "disk", None)
        assert all(loss.sign_at == stage.at - 300_000 for loss in request.losses)
        server.may_answer.set()
        await stage.turns()
        assert "ack…" not in stage.text
        assert "acknowledged for the team until they recover: a and b" in message(stage)
        assert (stage.app.state.monitor.acks, stage.app.state.acking) == ({}, frozenset())


async def test_a_mass_outage_goes_in_several_requests() -> None:
    server = Server()
    server.may_answer.set()
    async with viewer(server) as stage:
        names = [f"m{number}" for number in range(2 * ROWS_AT_ONCE + 1)]
        up = [environment(f"env-{name}", connectionName=name, lastHeartbeat=stage.at) for name in names]
        await stage.take(served(stage, *up))
        stage.now += 5
        await stage.take(served(stage, *(lost(name, stage.at) for name in names)))
        await stage.press("home", "a", "enter")
        rest, *whole = sorted(len(request.losses) for request in server.requests)
        assert (0 < rest < ROWS_AT_ONCE, whole) == (True, [ROWS_AT_ONCE, ROWS_AT_ONCE])
        assert message(stage).count("acknowledged for the team") == 1


async def test_each_row_has_its_answer() -> None:
    ann = AckedRow(clean("env-b"), AckResult.ALREADY, clean("ann"))
    server = Server(results={"env-b": ann})
    server.may_answer.set()
    async with viewer(server) as stage:
        await stage.press("a", "enter")
        assert "acknowledged for the team until it recovers: a; already acknowledged by ann: b" in message(stage)


@pytest.mark.parametrize("cause", [Cause.TIMEOUT, Cause.FORBIDDEN, Cause.UNREACHABLE])
async def test_what_was_not_sent_is_kept_nowhere(cause: Cause) -> None:
    server = Server(error=cause)
    server.may_answer.set()
    async with viewer(server) as stage:
        await stage.press("a", "enter")
        assert "not acknowledged: watch:8283 says no" in message(stage)
        assert stage.app.state.monitor.acks == {}
        assert "ack…" not in stage.text


async def test_an_older_server_leaves_the_acknowledgement_to_this_machine() -> None:
    server = Server(error=Cause.NO_SUCH_ROUTE)
    server.may_answer.set()
    async with viewer(server) as stage:
        await stage.press("a", "tab", "tab", "enter")
        assert "acknowledged on this machine only, watch:8283 says no: a and b" in message(stage)
        until = {ack.until for ack in stage.app.state.monitor.acks.values()}
        assert until == {stage.at + 3_600_000}


async def test_with_another_server_this_machine_acknowledges() -> None:
    async with viewer(None) as stage:
        await stage.press("a")
        assert "Acknowledge a, b on this machine" in stage.text
        await stage.press("enter")
        assert len(stage.app.state.monitor.acks) == 2


@pytest.mark.parametrize(
    ("tabs", "seconds", "words"), [(1, 1_800, "for 30m"), (8, 604_800, "for 7d"), (9, None, "until")]
)
async def test_a_key_chooses_how_long(tabs: int, seconds: float | None, words: str) -> None:
    server = Server()
    async with viewer(server) as stage:
        await stage.press("a", *["tab"] * tabs)
        assert f"for the team, {words}" in stage.text
        await stage.press("enter")
        assert [request.for_s for request in server.requests] == [seconds]


async def test_a_row_that_only_this_machine_expects_is_acknowledged_here() -> None:
    server = Server()
    async with viewer(server, policies=soon(expect=(clean("ghost"),))) as stage:
        await stage.press("a")
        assert "for the team and on this machine, until" in message(stage)
        await stage.press("enter")
        assert [loss.id for request in server.requests for loss in request.losses] == ["env-a", "env-b"]
        assert len(stage.app.state.monitor.acks) == 1


@pytest.mark.parametrize(("keys", "ended"), [(("enter",), []), (("down", "enter"), [UUID])])
async def test_anybody_may_end_an_acknowledgement_of_the_team(keys: tuple[str, ...], ended: list[str]) -> None:
    server = Server()
    server.may_answer.set()
    async with viewer(server) as stage:
        mark = {"envwatch": {"ack": {"by": "ann", "at": stage.at, "note": "disk", "uuid": UUID}}}
        await stage.take(served(stage, *(lost(name, stage.at - 5_000, **mark) for name in ("a", "b"))))
        await stage.press("home", "a")
        assert "acknowledged by ann" in stage.text
        await stage.press(*keys)
        assert server.ended == ended
        assert ("no longer acknowledged" in message(stage)) is bool(ended)
