"""Work of `envwatch serve` next to the polls: listings, changed tokens, acknowledgements answered after the write."""

from __future__ import annotations

import asyncio
import errno
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from support.app_harness import target_of
from support.builders import NOW, environment, listed, reading
from support.demo_client import Answer, Client
from support.fake_clock import Script, World, walk
from support.programs import wait_until
from support.serving import OTHER, TOKEN

from envwatch.alerts.monitor import Monitor
from envwatch.config.settings import Settings
from envwatch.letta.poller import Poller, Runtime, read_clocks
from envwatch.model.acks import Ack, AckedLoss, AckedRow, AckRequest, AckResult
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.redactor import Redactor
from envwatch.model.text import clean
from envwatch.serve.app import Act
from envwatch.serve.listening import Address, listen
from envwatch.serve.service import Plan, Service
from envwatch.serve.tokens import TokensFile
from envwatch.watch.log import PollLog
from envwatch.watch.loop import Decisions, Watch
from envwatch.watch.monitoring import Monitoring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.model.acks import AckAnswer
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed
    from envwatch.model.text import SafeText

SERVER = clean("letta.example")
WORK = clean("work")
SIGN = NOW - 300_000.0
UUID, NEXT = "0f0e0d0c-0b0a-4908-8706-050403020100", "1f0e0d0c-0b0a-4908-8706-050403020100"
AT_NOW = partial(reading, NOW)
IDS = ("env-1", "env-2")
KEYS = [(SERVER, clean(id_)) for id_ in IDS]
ACK = Ack(NOW - 60_000, clean("disk swap"), SIGN, clean("ann"), NOW + 3_540_000, clean(UUID), clean("127.0.0.1"))


@dataclass
class Disk:
    """A disk that a test may hold up or break."""

    is_free: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    error: OSError | None = None

    @classmethod
    def free(cls) -> Disk:
        disk = cls()
        disk.is_free.set()
        return disk

    async def written(self) -> None:
        self.is_asked.set()
        await self.is_free.wait()
        if self.error is not None:
            raise self.error


@dataclass
class Running:
    service: Service
    watch: Watch
    port: int
    disk: Disk
    decisions: list[Decisions]

    @property
    def acks(self) -> Acks:
        return self.watch.monitor.acks

    async def ask(
        self, method: str = "PUT", uuid: str = UUID, token: str = TOKEN, ids: tuple[str, ...] = IDS, **members: Any
    ) -> Answer:
        content = {"rows": [{"id": id_, "sign_at": SIGN} for id_ in ids], "note": "disk swap", "for_s": 3_600}
        bodies = {"PUT": content | members, "PATCH": members}
        body = json.dumps(bodies[method]).encode() if method in bodies else None

        def send() -> Answer:
            with Client(f"http://127.0.0.1:{self.port}", token) as client:
                path = f"/v1/envwatch/acks/{uuid}"
                return client.ask(path, method=method, body=body, **{"Content-Type": "application/json"})

        return await asyncio.to_thread(send)


def logged(folder: Path) -> str:
    """Return the log, which is whole once `running` has ended."""
    path = folder / "log"
    return path.read_text() if path.exists() else ""


def results(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [" ".join(filter(None, [row["result"], row.get("by")])) for row in answer.json["rows"]]


@asynccontextmanager
async def running(
    folder: Path,
    acks: Acks | None = None,
    clocks: Callable[[], Clocks] = AT_NOW,
    first: Listed | None = None,
) -> AsyncIterator[Running]:
    """Serve a first listing, by default of two rows that are off, to ann and ben; with earlier acknowledgements."""
    path = folder / "tokens"
    path.write_text(f"ann {TOKEN} ack\nben {OTHER} ack\n")
    path.chmod(0o600)
    listening = listen(Address("127.0.0.1", 0))
    plan = Plan({WORK: Settings(profile=WORK)}, {WORK: TokensFile(path, lambda _: None)}, listening, None)
    monitor = replace(Monitor.create({WORK: Limits()}, servers={WORK: SERVER}), acks=acks or {})
    decisions = list[Decisions]()
    watch = Watch(monitor, keep=decisions.append, runtime=Runtime(clocks=clocks))
    lines = list[str]()
    disk, log = Disk.free(), PollLog(folder / "log", Redactor(), notify=lines.append)
    service = Service(plan, Monitoring(watch, {}, log, disk.written))
    port: int = listening.getsockname()[1]
    rows = [environment(id_, connectionId=None, lastHeartbeat=None, lastSeenAt=SIGN) for id_ in IDS]
    service.take(watch.take(WORK, first or listed(rows)), {})
    try:
        yield Running(service, watch, port, disk, decisions)
    finally:
        await service.aclose()
        log.close()
        assert lines == []


async def test_a_quarantined_listing_reaches_no_viewer(tmp_path: Path) -> None:
    """An empty listing, a listing of few rows, and a listing without heartbeats are not believed at once."""
    now = read_clocks()

    def at_present(rows: list[Environment]) -> Listed:
        return listed(rows, now.wall)._replace(started=now, ended=now)

    rows = [environment(f"env-{number}", lastHeartbeat=now.wall - 1_000) for number in range(60)]
    silent = [environment(row.id, lastHeartbeat=None) for row in rows]
    for unlikely in ([], rows[:7], silent):
        async with running(tmp_path, clocks=read_clocks, first=at_present(rows)) as served:
            served.service.take(served.watch.take(WORK, at_present(unlikely)), {})
            with Client(f"http://127.0.0.1:{served.port}", TOKEN) as client:
                found = await asyncio.to_thread(client.rows, limit=7)
        assert [(row["id"], row["lastHeartbeat"]) for row in found] == [(row.id, row.last_heartbeat_at) for row in rows]


@pytest.mark.parametrize("broken", ["work", "home"])
async def test_an_unusable_file_of_tokens_holds_up_no_other(broken: str, tmp_path: Path) -> None:
    other, listening, warnings = "home" if broken == "work" else "work", listen(Address("127.0.0.1", 0)), list[str]()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def file_of(name: str, token: str = TOKEN) -> TokensFile:
        (tmp_path / name).write_text(f"ann {token}\n")
        (tmp_path / name).chmod(0o600)
        return TokensFile(tmp_path / name, lambda _: None)

    def status(profile: str, token: str) -> int:
        with Client(url, token) as client:
            return client.ask(f"/profiles/{profile}/v1/environments").status

    settings = {clean(name): Settings(profile=name) for name in ("work", "home")}
    watch = Watch(Monitor.create(dict.fromkeys(settings, Limits())))
    monitoring = Monitoring(watch, {}, PollLog(None, Redactor(), notify=warnings.append), Disk.free().written)
    service = Service(Plan(settings, {clean(name): file_of(name) for name in settings}, listening, None), monitoring)
    try:
        (tmp_path / broken).write_text("no token\n")
        file_of(other, OTHER)
        await service.renew()
        await asyncio.to_thread(wait_until, lambda: status(other, OTHER) == 503, "the new token opens its profile")
        assert [status(other, TOKEN), status(broken, TOKEN)] == [401, 503]
        (warning,) = warnings
        assert warning.startswith(f"the tokens stay as they were: {tmp_path / broken}:1: ")
    finally:
        await service.aclose()


# Acknowledgements.


async def test_the_answer_follows_the_write(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        served.disk.is_free.clear()
        asking = asyncio.ensure_future(served.ask())
        await served.disk.is_asked.wait()
        assert served.acks
        assert not asking.done()
        served.disk.is_free.set()
        assert results(await asking) == ["acked ann", "acked ann"]
        assert served.acks == dict.fromkeys(KEYS, replace(ACK, at=NOW, until=NOW + 3_600_000))


async def test_a_repetition_has_the_same_answer_without_another_decision(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        served.disk.is_free.clear()
        asking = [asyncio.ensure_future(served.ask()) for _ in range(3)]
        await served.disk.is_asked.wait()
        served.disk.is_free.set()
        answers = [await each for each in asking]
        first = answers[0]
        assert {each.body for each in answers} == {first.body}
        assert (await served.ask("DELETE")).status == 200
        assert (await served.ask()).body == first.body
        assert [{*each.acks} for each in served.decisions] == [{*KEYS}, {*KEYS}]


async def test_a_uuid_with_another_body_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        assert (await served.ask(ids=("env-1",))).status == 200
        for refused in (await served.ask(), await served.ask(ids=("env-1",), note="other")):
            assert refused.status == 409
            assert refused.json == {"error": f"another request has the uuid {UUID}: take a new uuid"}
        assert len(served.decisions) == 1


async def test_of_two_people_at_once_exactly_one_acknowledges(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        one, other = await asyncio.gather(served.ask(), served.ask(uuid=NEXT, token=OTHER))
        assert sorted([results(one), results(other)]) in (
            [["acked ann"] * 2, ["already ann"] * 2],
            [["acked ben"] * 2, ["already ben"] * 2],
        )


async def test_anybody_with_the_right_ends_an_acknowledgement_and_the_end_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, {KEYS[0]: ACK}) as served:
        missing = await served.ask("DELETE", NEXT)
        assert (missing.status, missing.json) == (404, {"error": f"there is no acknowledgement {NEXT}"})
        for _ in range(2):
            ended = await served.ask("DELETE", token=OTHER)
            assert (ended.status, ended.json) == (200, {"rows": []})
        (decision,) = served.decisions
        (made,) = decision.acks.values()
        assert made is not None
        assert made.ended_by == "ben"
        assert made.until == NOW - 1_000, "no estimate of the platform's clock puts the end into the future"
        assert results(await served.ask(uuid=NEXT, token=OTHER)) == ["acked ben", "acked ben"]


async def test_anybody_with_the_right_changes_a_note_and_the_acknowledgement_stays(tmp_path: Path) -> None:
    async with running(tmp_path, {KEYS[0]: ACK}) as served:
        assert (await served.ask("PATCH", NEXT, note="eta")).status == 404
        assert (await served.ask("PATCH", note=7)).status == 422
        changed = await served.ask("PATCH", token=OTHER, note="eta 10 min")
        assert (changed.status, changed.json) == (200, {"rows": []})
        assert served.acks == {KEYS[0]: replace(ACK, note=clean("eta 10 min"))}
    assert "ben (127.0.0.1) changed the note about 1 machine" in logged(tmp_path)


async def test_a_token_changes_no_acknowledgement_outside_of_its_profiles_rows(tmp_path: Path) -> None:
    elsewhere = {(SERVER, clean("env-of-another-profile")): ACK}
    async with running(tmp_path, elsewhere) as served:
        assert (await served.ask("DELETE")).status == 404
        assert (await served.ask("PATCH", note="eta")).status == 404
        assert served.acks == elsewhere


@dataclass
class Upstream:
    """An `envwatch serve` above."""

    may_ack: bool = True
    error: SourceError | None = None
    acts: list[str] = field(default_factory=list)

    async def acknowledge(self, uuid: SafeText, request: AckRequest) -> AckAnswer:
        self._take(f"PUT {uuid} {request.note}")
        return [AckedRow(loss.id, AckResult.ACKED, clean("lower")) for loss in request.losses]

    async def end(self, uuid: SafeText) -> None:
        self._take(f"DELETE {uuid}")

    async def change_note(self, uuid: SafeText, note: SafeText) -> None:
        self._take(f"PATCH {uuid} {note}")

    def _take(self, act: str) -> None:
        if self.error is not None:
            raise self.error
        self.acts.append(act)


def put_below(served: Running, upstream: Upstream) -> None:
    target = target_of(Poller(Script(World(), walk()), Limits()), "work")._replace(
        host="upper:1", find_team=lambda: upstream
    )
    served.watch.targets = {WORK: target}


async def test_a_lower_server_passes_acknowledgements_notes_and_ends_on_and_keeps_none(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        put_below(served, upstream := Upstream())
        assert results(await served.ask()) == ["acked lower", "acked lower"]
        assert (await served.ask("PATCH", note="eta")).status == 200
        assert (await served.ask("DELETE")).status == 200
        assert upstream.acts == [f"PUT {UUID} disk swap", f"PATCH {UUID} eta", f"DELETE {UUID}"]
        assert served.acks == {}
        upstream.error = SourceError(Failure(Cause.UNREACHABLE, clean("no upstream")))
        refused = await served.ask("DELETE")
        assert (refused.status, refused.json) == (502, {"error": "not passed on: no upstream"})
        upstream.error = SourceError(Failure(Cause.FORBIDDEN, clean("ask for the right")))
        why = "the token of this server only reads at upper:1: only a user of upper:1 can change it"
        assert (await served.ask("DELETE")).json == {"error": f"not passed on: {why}"}


async def test_a_lower_server_without_the_right_upstream_acknowledges_for_its_own_viewers(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        put_below(served, upstream := Upstream(may_ack=False))
        answer = await served.ask()
        assert results(answer) == ["acked ann", "acked ann"]
        assert {row["still_pages"] for row in answer.json["rows"]} == {"upper:1"}
        assert (await served.ask("DELETE")).status == 200
        assert upstream.acts == []


async def test_a_lower_server_acknowledges_for_its_own_viewers_if_it_lost_the_right_upstream(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        put_below(served, Upstream(error=SourceError(Failure(Cause.FORBIDDEN, clean("not here")))))
        for _ in range(2):
            answer = await served.ask()
            assert results(answer) == ["acked ann", "acked ann"]
            assert {row["still_pages"] for row in answer.json["rows"]} == {"upper:1"}
        assert len(served.acks) == 2
        assert (await served.ask("DELETE")).status == 200


async def test_a_full_disk_refuses_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        served.disk.error = OSError(errno.ENOSPC, "No space left on device")
        refused = await served.ask()
        why = {"error": "acknowledgements cannot be saved: No space left on device", "errorCode": "envwatch_unsaved"}
        assert (refused.status, refused.json, served.acks) == (503, why, {})
        served.disk.error = None
        assert results(await served.ask()) == ["acked ann", "acked ann"]
        served.disk.error = OSError(errno.ENOSPC, "No space left on device")
        assert (await served.ask("DELETE")).status == 503
        assert {ack.until for ack in served.acks.values()} == {NOW + 3_600_000}
        assert results(await served.ask(uuid=NEXT, token=OTHER)) == ["already ann", "already ann"]


@pytest.mark.parametrize("until", [NOW + 3_540_000, NOW - 1])
async def test_after_a_restart_a_repetition_revives_nothing_and_another_note_or_duration_is_refused(
    until: float, tmp_path: Path
) -> None:
    async with running(tmp_path, dict.fromkeys(KEYS, replace(ACK, until=until))) as served:
        assert results(await served.ask()) == ["acked ann", "acked ann"]
        assert [(await served.ask(note="other")).status, (await served.ask(for_s=None)).status] == [409, 409]
        assert served.decisions == []


@pytest.mark.parametrize(("count", "rows", "kept"), [(1_001, 1, 1_000), (21, 1_000, 20)])
async def test_the_answers_in_memory_are_bounded(count: int, rows: int, kept: int, tmp_path: Path) -> None:
    request = AckRequest(tuple(AckedLoss(clean(f"other-{number}"), None) for number in range(rows)))
    async with running(tmp_path) as served:
        for _ in range(count):
            act = Act("work", clean(str(uuid4())), clean("ann"), clean("192.0.2.7"), request)
            await served.service._decided(act)  # noqa: SLF001
        assert len(served.service._answers) == kept  # noqa: SLF001


async def test_the_log_has_a_line_for_each_act(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        assert (await served.ask(ids=("env-1", "env-9"), note="disk\nswap \x1b[2J")).status == 200
        assert (await served.ask(ids=("env-1", "env-9"), note="disk\nswap \x1b[2J")).status == 200
        assert (await served.ask(uuid=NEXT, token=OTHER, note="", for_s=None)).status == 200
        assert (await served.ask("DELETE", token=OTHER)).status == 200
        assert (await served.ask("DELETE", token=OTHER)).status == 200
    assert re.findall(r"info (\w+ \(.*)", logged(tmp_path)) == [
        f"ann (127.0.0.1) acknowledged 1 of 2 machines for 1h, {UUID}: disk swap \\x1b[2J",
        f"ben (127.0.0.1) acknowledged 1 of 2 machines until back, {NEXT}",
        f"ben (127.0.0.1) ended the acknowledgement of 1 machine, {UUID}: disk swap \\x1b[2J",
    ]
