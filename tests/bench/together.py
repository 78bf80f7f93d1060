"""An hour of everything at once, in real time: `python tests/bench/together.py [--minutes 60] [--seed 1]`.

A platform of 1,000 environments has crashes, power cuts, flapping, upgrades, renames and jobs, and fails in every way.
The dashboard (with keys), `watch --hooks` and `serve` with 50 viewers look at the platform at once and share one
history. The end compares memory, descriptors, threads, messages, events, viewers' rows and the report with the script.
Linux only. Exit code 1: something differs from the script.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import re
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs import ENVWATCH, Glass
from support import programs
from support.month.playing import HEAD, Message, Platform, score
from support.month.script import BEGIN, HOUR, MINUTE, SECOND, Cause, Fault, Script
from support.serve_program import TOKEN, UPSTREAM_KEY, serve_program, tokens_file, upstream

from envwatch.model.environment import wire_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROWS = 1_000
VIEWERS = 50
EVERY_S = 5.0
SAMPLE_EVERY_S = 10.0
WARM_SHARE = 0.2
"""Share of the run after which memory must stay flat."""
QUIET_END = 6 * MINUTE
"""The end of a run without events, so that everybody agrees at last."""
_INSTANTS = ("lastHeartbeat", "connectedAt", "firstSeenAt", "lastSeenAt")
_MORE_MIB, _MORE_DESCRIPTORS = 8, 8
"""Largest growth from the end of the warm-up to the end of a run."""
_CONFIG = """\
alert = "!os:darwin !name:ci-*"

[[hooks]]
name = "truth"
command = ["/bin/sh", "-c", "date +%s%3N >> {path}; cat >> {path}; echo >> {path}"]
"""
_KEYS = ("j", "j", "k", "n", "e", "\x1b[27u", "{", "[", "L", "o", "E", "E", "{", "}", "L", "G", "g", "?", "\x1b[27u")


def story(seed: int, length: int) -> Script:
    """Return a script with every kind of event and fault; each server has one event."""
    random, script = Random(seed), Script(length)
    end = length - QUIET_END

    def moment(before_end: int = 0) -> int:
        return random.randrange(2 * MINUTE, max(end - before_end, 3 * MINUTE))

    servers = [script.row(f"srv-{number}", -random.randrange(HOUR, 90 * HOUR)) for number in range(ROWS - 80)]
    sites = [servers[number::12] for number in range(12)]
    laptops = [script.row(f"laptop-{number}", -random.randrange(HOUR), os="darwin") for number in range(40)]
    for number, laptop in enumerate(laptops[:20]):
        since = moment(8 * MINUTE)
        script.sleep(laptop, since, since + (1 + number % 7) * MINUTE)
    for number in range(40):
        since = moment(3 * MINUTE)
        job = script.row(f"ci-{number}", since)
        script.end(job, since + 2 * MINUTE, Cause.JOB_END, since + 4 * MINUTE)
    for site in sites[:2]:
        hit, at = [site.pop() for _ in range(15)], moment(10 * MINUTE)
        script.cut(hit, at, [at + random.randrange(6 * MINUTE, 9 * MINUTE) for _ in hit])
    free = [row for site in sites for row in site]
    random.shuffle(free)
    for _ in range(12):
        since = moment(9 * MINUTE)
        until = since + random.choice([90, 200, 400, 500]) * SECOND
        script.down(free.pop(), since, until, Cause.CRASH, is_silent=random.random() < 0.5)
    for _ in range(2):
        since = moment(9 * MINUTE)
        script.flap(free.pop(), since, since + 8 * MINUTE, lambda: random.randrange(20, 40))
    at = moment(2 * MINUTE)
    for _ in range(60):
        since = at + random.randrange(30) * SECOND
        script.down(free.pop(), since, since + random.randrange(5, 40) * SECOND, Cause.UPGRADE)
    for number in range(3):
        script.rename(free.pop(), moment(), random.randrange(2, 20) * SECOND, f"renamed-{number}")
    faults = [fault for fault in Fault if fault not in (Fault.STOPPED, Fault.ASLEEP)] + [Fault.FAILING] * (
        len(_FAILURES) - 1
    )
    random.shuffle(faults)
    for number, fault in enumerate(faults):
        since = 3 * MINUTE + number * (end - 4 * MINUTE) // len(faults)
        lasts = 20 * SECOND if fault is Fault.FAILING else random.randrange(20, 70) * SECOND
        script.trouble(
            since, since + lasts, fault, share=0.5 if fault is not Fault.SHIFTED else 0.01, error=90 * SECOND
        )
    return script


class _Failure(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}


_FAILURES: tuple[_Failure | str, ...] = (
    _Failure(500, b'{"error":"boom"}'),
    _Failure(503, b'{"error":"restarting"}', {"Retry-After": "5"}),
    _Failure(429, b'{"error":"slow down"}', {"Retry-After": "10"}),
    _Failure(401, b'{"message":"Unauthorized"}'),
    _Failure(302, b"", {"Location": "https://example.com/"}),
    _Failure(200, b"<html>welcome</html>"),
    _Failure(200, b'{"connections":[{"id":"x",'),
    _Failure(200, b'{"connections":[{"id":NaN}],"hasNextPage":false}'),
    "reset",
    "trickle",
)


class World(ThreadingHTTPServer):
    """The platform's API in real time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self._script = script
        self._platform = Platform(script)
        self._lock = Lock()
        failing = [each for each in script.troubles if each.fault is Fault.FAILING]
        self._failures = dict(zip(failing, cycle(_FAILURES), strict=False))
        self.began_at = time.time()
        self.requests = Counter[str]()
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def at(self) -> int:
        """Milliseconds since the script began."""
        return int((time.time() - self.began_at) * 1000)

    def faults(self) -> dict[Fault, Any]:
        at = self.at
        return {each.fault: each for each in self._script.troubles if each.since <= at < each.until}

    def failure(self, faults: Mapping[Fault, Any]) -> _Failure | str | None:
        return self._failures[faults[Fault.FAILING]] if Fault.FAILING in faults else None

    def rows(self, faults: Mapping[Fault, Any]) -> list[dict[str, Any]]:
        """Return all rows now, with instants of the real clock."""
        shift = self.began_at * 1000 - BEGIN
        with self._lock:
            at = self.at
            environments = self._platform.environments(at, faults, is_odd=bool(at // 5_000 % 2))
        rows = [cast("dict[str, Any]", wire_row(environment)) for environment in environments]
        for row in rows:
            for name in _INSTANTS:
                if row.get(name) is not None:
                    is_ms = row[name] > 1e11
                    row[name] += shift if is_ms else shift / 1_000
        return rows

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that leaves; report every other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: World

    def do_GET(self) -> None:
        faults = self.server.faults()
        path, query = urlsplit(self.path)[2:4]
        match self.server.failure(faults):
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.close_connection = True
                return
            case "trickle":
                self._trickle()
                return
            case _Failure() as failure:
                self._reply(failure.status, failure.body, faults, failure.headers)
                return
        if self.headers.get("Authorization") != f"Bearer {UPSTREAM_KEY}":
            self._reply(401, b'{"message":"Unauthorized"}', faults)
        elif path == "/v1/environments":
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            rows, limit = self.server.rows(faults), int(asked.get("limit", "50"))
            if "after" in asked:
                ids = [row["id"] for row in rows]
                rows = rows[ids.index(asked["after"]) + 1 :] if asked["after"] in ids else []
            body = {"connections": rows[:limit], "hasNextPage": len(rows) > limit}
            self._reply(200, json.dumps(body).encode(), faults)
        else:
            device = unquote(path.rpartition("/")[2])
            found = [row for row in self.server.rows(faults) if row["deviceId"] == device]
            self._reply(200 if found else 404, json.dumps(found[0] if found else {"error": "unknown"}).encode(), faults)

    def _reply(self, status: int, body: bytes, faults: Mapping[Fault, Any], headers: Mapping[str, str] = {}) -> None:
        self.server.requests[str(status)] += 1
        error = faults[Fault.WRONG_DATE].error / 1000 if Fault.WRONG_DATE in faults else 0
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + error, usegmt=True))
        self.send_header("Content-Type", "application/json")
        if len(body) > 1_000:
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        with suppress(OSError):
            for _ in range(20):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(1)  # a server that sends one byte a second

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Sample(NamedTuple):
    at: int
    resident: float
    """MiB."""
    descriptors: int
    threads: int


def sample(pid: int, at: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    resident, threads = (
        int(found[1]) if (found := re.search(rf"{name}:\s*(\d+)", status)) else -1 for name in ("VmRSS", "Threads")
    )
    return Sample(at, resident / 1024, len([*Path(f"/proc/{pid}/fd").iterdir()]), threads)


class Crowd:
    """50 viewers of `serve`, each with a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.statuses = Counter[int]()
        self.faults: list[str] = []
        self.oldest_s = 0.0
        """The greatest age of a served listing."""

    async def run(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(VIEWERS):
                tasks.create_task(self._view(number / VIEWERS, time.monotonic() + seconds))

    async def _view(self, phase: float, until: float) -> None:
        await asyncio.sleep(phase * EVERY_S)
        reader = writer = None
        tag = ""
        while (began := time.monotonic()) < until:
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                tag = await asyncio.wait_for(self._ask(reader, writer, tag), 30)
            except (OSError, EOFError, TimeoutError) as error:
                self.faults.append(f"{type(error).__name__}: {error}")
                reader = writer = None
            await asyncio.sleep(max(began + EVERY_S - time.monotonic(), 0))
        if writer is not None:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tag: str) -> str:
        match = f"If-None-Match: {tag}\r\n" if tag else ""
        writer.write(
            f"GET /v1/environments?limit={2 * ROWS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Accept-Encoding: gzip\r\n{match}\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if status != 304:
            await reader.readexactly(int(headers.get("content-length", "0")))
        self.statuses[status] += 1
        if status in (200, 304):
            self.oldest_s = max(self.oldest_s, float(headers.get("envwatch-listing-age", "0")))
            return headers.get("etag", tag)
        if status != 503:
            self.faults.append(lines[0])
        return tag


class Hour(NamedTuple):
    """What a run left behind."""

    script: Script
    world: World
    crowd: Crowd
    samples: dict[str, list[Sample]]
    cpu_s: dict[str, float]
    exits: dict[str, int]
    messages: list[Message]
    faults: list[str]


def run(script: Script) -> Hour:
    """Let the script happen in real time before all programs."""
    samples: dict[str, list[Sample]] = {"dashboard": [], "watch": [], "serve": []}
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        hook_log, watch_output = home / "hook-log", home / "watch-output"
        config = home / ".config" / "envwatch" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(_CONFIG.format(path=hook_log))
        tokens_file(home)
        world = World(script)
        stack.callback(world.server_close)
        environ = upstream(home, world.url, UPSTREAM_KEY)
        del environ["ENVWATCH_ALERT"]  # the configuration decides
        served = stack.enter_context(serve_program(environ, home, "--interval", "5s"))
        out, err = stack.enter_context(watch_output.open("wb")), stack.enter_context((home / "errors").open("wb"))
        command = [*ENVWATCH, "watch", "--hooks", "--initial", "-o", "jsonl"]
        watching = programs.start(command, environ, (0, out.fileno(), err.fileno()), folder=home)
        stack.callback(watching.kill)
        glass = stack.enter_context(Glass([*ENVWATCH], environ, columns=120, lines=36))
        glass.first_data()
        crowd = Crowd(served.port)
        viewers = Thread(target=asyncio.run, args=(crowd.run((script.length - world.at) / 1000),))
        viewers.start()
        pids = {"dashboard": glass.process.pid, "watch": watching.pid, "serve": served.process.pid}
        keys = cycle(_KEYS)
        while world.at < script.length:
            glass.press(next(keys))
            glass.run_for(min(SAMPLE_EVERY_S, max((script.length - world.at) / 1000, 0.1)))
            for name, pid in pids.items():
                samples[name].append(sample(pid, world.at))
        viewers.join()
        cpu_s = {name: time.clock_gettime((~pid << 3) | 2) for name, pid in pids.items()}
        faults = [f"viewers: {count} times {what}" for what, count in Counter(crowd.faults).items()]
        faults += _faults_of_rows(watch_output, world, environ, served.urls[0])
        faults += _faults_of_report(script, environ)
        glass.press("L", "\x1b[27u", "\x1b[27u", "q")
        exits = {"dashboard": glass.wait_for_end(), "serve": served.end()}
        watching.send_signal(signal.SIGTERM)
        exits["watch"] = watching.wait(programs.TIMEOUT_S)
        messages = list(_messages(hook_log, world.began_at))
    wanted = {"dashboard": 0, "serve": 143, "watch": 143}
    faults += [f"{name} ended with {code}" for name, code in exits.items() if code != wanted[name]]
    return Hour(script, world, crowd, samples, cpu_s, exits, messages, faults)


def report(hour: Hour) -> list[str]:
    """Print the figures, and return lines about differences from the script."""
    write, faults = sys.stdout.write, [*hour.faults]
    write(f"upstream answers {dict(hour.world.requests)}, viewers' answers {dict(hour.crowd.statuses)}\n")
    write(f"oldest listing that viewers got: {hour.crowd.oldest_s:.1f} s\n\n")
    write("| program | CPU, s | MiB after warm-up → end, most | descriptors | threads | exit |\n")
    write("|---|--:|--:|--:|--:|--:|\n")
    warm = int(hour.script.length * WARM_SHARE)
    for name, samples in hour.samples.items():
        late = [each for each in samples if each.at >= warm]
        first, last = late[0], late[-1]
        write(
            f"| {name} | {hour.cpu_s[name]:.0f} "
            f"| {first.resident:.1f} → {last.resident:.1f}, {max(each.resident for each in late):.1f} "
            f"| {first.descriptors} → {last.descriptors}, {max(each.descriptors for each in late)} "
            f"| {first.threads} → {last.threads}, {max(each.threads for each in late)} | {hour.exits[name]} |\n"
        )
        if last.descriptors > first.descriptors + _MORE_DESCRIPTORS:
            faults.append(f"{name}: descriptors grow from {first.descriptors} to {last.descriptors}")
        if last.resident > first.resident + _MORE_MIB:
            faults.append(f"{name}: memory grows from {first.resident:.1f} to {last.resident:.1f} MiB")
    scored = score(hour.script, hour.messages)
    write(f"\n{HEAD}\n{scored.line('watch --hooks')}\n\n")
    return [*faults, *scored.faults]


def _messages(hook_log: Path, began_at: float) -> Iterator[Message]:
    """Yield the opened incidents that the hook received, with the time of delivery.

    The time in a message is the incident's begin, which may be earlier than the loss of a member.
    """
    lines = hook_log.read_text().splitlines() if hook_log.exists() else []
    for ms, line in zip(lines[::2], lines[1::2], strict=True):
        event = json.loads(line)
        if event["type"] == "envwatch.incident.opened":
            yield Message(int(int(ms) - began_at * 1000), frozenset(_ids(event)))


def _ids(event: Mapping[str, Any]) -> Iterator[str]:
    return (row["id"] for row in event["data"]["environments"])


def _faults_of_rows(watch_output: Path, world: World, environ: Mapping[str, str], url: str) -> Iterator[str]:
    """Compare the platform with the served rows, and with the last state of each row that `watch` printed."""
    truth = {row["id"]: "online" if row["connectionId"] else "offline" for row in world.rows({})}
    viewer = {**environ, "LETTA_BASE_URL": url, "LETTA_API_KEY": TOKEN}
    listing = json.loads(programs.run([*ENVWATCH, "list", "-o", "json"], viewer).stdout)
    last_states: dict[str, str] = {}
    for line in watch_output.read_text().splitlines():
        data = json.loads(line)["data"]
        last_states |= {row["id"]: row["state"] for row in data.get("members") or [data] if row.get("id")}
    listed = {row["id"]: row["state"] for row in listing["environments"]}
    for source, states in (("serve", listed), ("watch", last_states)):
        for id_, state in truth.items():
            if (found := states.get(id_, "none").replace("late", "online")) != state:
                yield f"{source}: {id_} is {found}, not {state}"
    yield from (f"serve: {id_} is listed, and gone" for id_ in listed.keys() - truth.keys())


def _faults_of_report(script: Script, environ: Mapping[str, str]) -> Iterator[str]:
    done = programs.run([*ENVWATCH, "report", "--since", "12h", "-o", "json"], environ)
    (profile,) = json.loads(done.stdout)["profiles"]
    reported = {row["id"] for part in ("down", "outages", "flapping") for row in profile[part]}
    needed = {need.id: need for need in script.needs() if need.is_visible}
    yield from (f"the report lacks {need.name}: {need.cause}" for id_, need in needed.items() if id_ not in reported)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}, {options.minutes:g} minutes, {ROWS} environments, {VIEWERS} viewers\n")
    faults = report(run(story(options.seed, int(options.minutes * MINUTE))))
    sys.stdout.writelines(f"- {fault}\n" for fault in faults)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
