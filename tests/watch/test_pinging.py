"""The dead man's switch against a real web service on loopback, and notifications to systemd over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import NOW, failed, listed, reading, slept, wire_rows
from support.faulty_server import KEY, faulty_server
from support.pty_terminal import environment
from support.receiver import Answer, Receiver, receiver
from support.scripted_watch import row

from envwatch.alerts.monitor import Monitor
from envwatch.cli.arguments import Exit
from envwatch.config.credentials import Credentials
from envwatch.config.settings import Settings
from envwatch.deliver.delivery import find_ping
from envwatch.deliver.web_service import WebService
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.network_settings import checked_hook_url
from envwatch.letta.poller import Runtime
from envwatch.model.limits import Limits
from envwatch.model.redactor import Secret
from envwatch.model.text import clean
from envwatch.watch.loop import Watch
from envwatch.watch.pinging import DeadMansSwitch, ServiceManager, find_pings
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


ENVWATCH = (sys.executable, "-m", "envwatch")
OK, FAIL = "/hook?token=t0", "/hook/fail?token=t0"


@dataclass
class Scene:
    service: Receiver
    switch: DeadMansSwitch
    failing: list[str]
    warnings: list[str]
    now: float = 0.0
    """Seconds since `NOW`."""
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        monitor = Monitor.create({NO_PROFILE: Limits()})
        self.watch = Watch(monitor, runtime=Runtime(lambda: reading(self.at)))

    @property
    def at(self) -> float:
        return NOW + self.now * 1000

    async def _take(self, outcome: Outcome | None, *, is_awaited: bool = True) -> None:
        update = self.watch.tick() if outcome is None else self.watch.take(NO_PROFILE, outcome)
        self.switch.take(update, self.watch, self.warnings.append, has_failing_hooks=bool(self.failing))
        if is_awaited and self.switch.task is not None:
            await self.switch.task

    async def poll(self, *, at: float, is_awaited: bool = True) -> None:
        self.now = at
        await self._take(listed([row("web", self.at)], self.at), is_awaited=is_awaited)

    async def fail(self, *, at: float) -> None:
        self.now = at
        await self._take(failed(at=self.at))

    async def tick(self, *, at: float) -> None:
        self.now = at
        await self._take(None)

    async def sleep(self, *, until: float) -> None:
        asleep_at, self.now = self.at, until
        await self._take(slept(asleep_at, self.at))

    @property
    def fetched(self) -> list[str]:
        return [posted.target for posted in self.service.posted]


@asynccontextmanager
async def scene(*answers: Answer) -> AsyncIterator[Scene]:
    failing, warnings = list[str](), list[str]()
    async with receiver(*answers) as service:
        ping = WebService(checked_hook_url(service.url), {}, time_limit=timedelta(seconds=20))
        yield Scene(service, DeadMansSwitch(ping, [NO_PROFILE]), failing, warnings)


async def test_a_complete_listing_is_told_at_most_once_a_minute() -> None:
    async with scene() as one:
        await one.fail(at=0)
        await one.tick(at=1)
        assert one.fetched == []
        await one.poll(at=10)
        await one.tick(at=11)
        await one.poll(at=69.9)
        assert one.fetched == [OK]
        await one.tick(at=100)
        assert one.fetched == [OK], "time alone says nothing"
        await one.poll(at=70.1)
        assert one.fetched == [OK, OK]
    assert one.service.posted[0].method == "GET"
    assert one.service.posted[0].body == b""


@pytest.mark.parametrize("cause", ["blind", "hook"])
async def test_a_failure_is_told_once_and_then_nothing_until_envwatch_sees_again(cause: str) -> None:
    async with scene() as one:
        await one.poll(at=0)
        if cause == "hook":
            one.failing.append("pager")
        for second in range(5, 400, 5):
            if cause == "hook":
                await one.poll(at=second)
            else:
                await one.fail(at=second)
            await one.tick(at=second + 1)
        assert one.fetched == [OK, FAIL]
        one.failing.clear()
        await one.tick(at=400)
        assert one.fetched == [OK, FAIL]
        await one.poll(at=401)
        await one.poll(at=462)
        assert one.fetched == [OK, FAIL, OK, OK]
        one.failing.append("pager")
        await one.poll(at=530)
        assert one.fetched[4:] == [FAIL], "a second failure is told as well"


def test_profiles_with_one_address_share_a_switch() -> None:
    credentials = Credentials(key=Secret("k"), base_url="https://letta.example", origin="a test")
    urls = {"a": "https://ping.example/1", "b": "https://ping.example/2", "c": "https://ping.example/1", "d": None}
    profiles = Profiles(
        {
            clean(name): SelectedProfile(credentials, Settings(profile=name, ping_url=Secret(url) if url else None))
            for name, url in urls.items()
        }
    )
    found = [(str(shared.ping.url), list(shared.names)) for shared in find_pings(profiles)]
    assert found == [("https://ping.example/1", ["a", "c"]), ("https://ping.example/2", ["b"])]


async def test_an_address_of_several_profiles_fails_with_one_blind_profile() -> None:
    names = [clean("work"), clean("home")]
    moment = NOW + 0.0
    watch = Watch(Monitor.create({name: Limits() for name in names}), runtime=Runtime(lambda: reading(moment)))
    async with receiver() as service:
        ping = WebService(checked_hook_url(service.url), {})
        switch = DeadMansSwitch(ping, names)

        async def take(name: SafeText, at: float, *, is_up: bool = True) -> None:
            nonlocal moment
            moment = NOW + at * 1000
            outcome = listed([row("web", moment)], moment) if is_up else failed(at=moment)
            switch.take(watch.take(name, outcome), watch, lambda _: None)
            if switch.task is not None:
                await switch.task

        work, home = names
        await take(work, 0)
        assert service.posted == [], "nothing is known of the other one"
        await take(home, 1)
        for second in range(10, 200, 10):
            await take(work, second)
            await take(home, second + 1, is_up=False)
        assert [posted.target for posted in service.posted] == [OK, FAIL]


async def test_an_undelivered_failure_is_told_again() -> None:
    async with scene(Answer(200), Answer(500), Answer(500)) as one:
        await one.poll(at=0)
        one.failing.append("pager")
        for second in range(60, 400, 10):
            await one.tick(at=second)
        assert one.fetched == [OK, FAIL, FAIL, FAIL]
        assert one.warnings == ["ping_url: 127.0.0.1 answers 500", "ping_url: works again"]


async def test_a_sleep_of_this_machine_is_no_failure() -> None:
    async with scene() as one:
        await one.poll(at=0)
        await one.sleep(until=7_200)
        await one.tick(at=7_201)
        await one.poll(at=7_202)
        assert one.fetched == [OK, OK]


async def test_a_hanging_service_delays_nothing_and_gets_no_second_fetch_meanwhile() -> None:
    async with scene(Answer(stalls=True)) as one:
        for second in range(0, 400, 5):
            await one.poll(at=second, is_awaited=False)
        await one.service.have_come(1)
        assert one.fetched == [OK]
        await one.switch.end()
        assert one.warnings == []


async def test_a_redirect_is_not_followed_and_an_address_is_never_shown() -> None:
    async with scene(Answer(302, headers=("Location: http://127.0.0.1:1/x",))) as one:
        await one.poll(at=0)
        assert one.warnings == ["ping_url: 127.0.0.1 answers 302, a redirect: give it the final address"]


@pytest.mark.parametrize(
    ("address", "target"),
    [("/0e1d", "/0e1d/fail"), ("/0e1d/", "/0e1d/fail"), ("/a%2Fb?x=%2F&y", "/a%2Fb/fail?x=%2F&y"), ("", "/fail")],
)
async def test_fail_ends_the_path_before_the_query(address: str, target: str) -> None:
    async with receiver() as service:
        ping = find_ping(Secret(service.url.replace("/hook?token=t0", address)), None, {})
        assert ping is not None
        assert ping.time_limit == timedelta(seconds=10)
        await ping.ping(is_failure=True)
    assert [posted.target for posted in service.posted] == [target]


@pytest.mark.parametrize("command", [("watch",), ("record", "-o", "file")])
async def test_the_program_fetches_the_address_after_a_complete_listing(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('ping_url_env = "PING"\n')
    arguments = [*ENVWATCH, *(str(tmp_path / word) if word == "file" else word for word in command)]
    async with faulty_server(wire_rows(1)) as server, receiver() as service:
        named = {"ENVWATCH_CONFIG": str(tmp_path / "config.toml"), "XDG_STATE_HOME": str(tmp_path / "state")}
        bad = environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url, **named)
        done = await asyncio.to_thread(programs.run, arguments, bad)
        assert (done.returncode, done.stderr) == (2, b"envwatch: ping_url_env: PING is not set\n")
        assert server.seen == []
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123, ASYNC230
            streams = (nothing.fileno(),) * 3
            process = programs.start(arguments, bad | {"PING": service.url}, streams, folder=tmp_path)
        try:
            await service.have_come(1)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == Exit.TERMINATED
        finally:
            process.kill()
            process.wait()
        assert [posted.target for posted in service.posted] == [OK]


WATCHED = {"WATCHDOG_USEC": "30000000"}


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver


def received(receiver: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(receiver.recv(1_000))
        except BlockingIOError:
            return found


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@envwatch-test-{os.getpid()}"


def sent_to(address: str, environ: dict[str, str]) -> list[bytes]:
    with manager(address) as receiver:
        with ServiceManager(environ | {"NOTIFY_SOCKET": address}) as service:
            service.ready()
            service.take(listed([]))
        return received(receiver)


def test_a_service_manager_hears_of_the_begin_each_listing_and_the_end(address: str) -> None:
    assert sent_to(address, WATCHED) == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert sent_to(address + "2", WATCHED | {"WATCHDOG_PID": str(os.getpid())})[1] == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "variables", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, WATCHED | {"WATCHDOG_PID": "1"}]
)
def test_the_watchdog_of_another_process_is_not_fed(variables: dict[str, str], tmp_path: Path) -> None:
    assert sent_to(str(tmp_path / "notify"), variables) == [b"READY=1", b"STOPPING=1"]


def test_the_variables_are_not_left_to_child_processes() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@without-a-listener", "vsock:2:1234", "relative"])
def test_without_a_listener_nothing_happens(address: str) -> None:
    with ServiceManager({"NOTIFY_SOCKET": address} | WATCHED) as manager:
        manager.ready()
        manager.take(listed([]))
