"""Stories of machines under the real `watch --hooks`, with the delivered messages.

A story takes an empty folder and the clock's speed. No duration depends on the speed: all waits use `time`, so a story
can also run under faketime. `python alert_stories.py STORY FOLDER SPEED` tells one story; see `fast_clock`.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias

from support import fast_clock, programs
from support.demo_client import LISTING
from support.faulty_server import KEY, Faulty, down, running, says, up
from support.pty_terminal import Terminal, environment, without_settings
from support.recording import ALWAYS

from envwatch.history.past import HistoryError
from envwatch.history.stored import StoredPast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

MINUTE: Final = 60

PERIOD_MS: Final = 30_000.0
"""Milliseconds between heartbeats."""

PATIENCE_S: Final = 60.0
"""Real seconds that a story waits: generous, because a busy machine is slow."""

_ENVWATCH: Final = (sys.executable, "-m", "envwatch")

_FAKETIME: Final = ("LD_PRELOAD", "FAKETIME", "FAKETIME_SHARED")
"""Variables that pass a parent's clock to child processes."""

APPENDS: Final = 'at=$(date +%s); printf "%s %s\\n" "$at" "$(cat)" >> "$0"'
"""A hook's script that appends a line to the hook's file: the second of delivery, and the CloudEvent."""


class Told(NamedTuple):
    at: float
    """Seconds since the epoch."""
    what: str
    """`opened` or `resolved`."""
    names: tuple[str, ...]
    """Of the environments; empty for an incident about envwatch."""
    incident: str
    profile: str | None
    summary: str


def told_by(cloud_event: str, at: float) -> Told:
    event = json.loads(cloud_event)
    data = event["data"]
    names = tuple(sorted(each["name"] for each in data.get("environments") or ()))
    what = event["type"].removeprefix("envwatch.incident.")
    return Told(at, what, names, data["incident"], data["profile"], data["summary"])


@dataclass
class Machine:
    """A machine and its row. Instants are milliseconds since the epoch."""

    id: str
    beat_at: float = 0.0
    """Time of one heartbeat; all heartbeats are whole periods apart."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the row, by wire name."""
    connected_at: float | None = None
    """None: a day before the test."""
    silent_at: float | None = None
    """When the power failed: the row keeps the connection."""
    closed_at: float | None = None
    """When the connection closed: the row loses the connection."""

    def row(self, now: float) -> dict[str, Any]:
        if self.closed_at is not None:
            return down(self.id, self.closed_at, **self.fields)
        last = now if self.silent_at is None else min(now, self.silent_at)
        beat = last - (last - self.beat_at) % PERIOD_MS
        connection: dict[str, Any] = {}
        if (at := self.connected_at) is not None:
            beat = max(beat, at)
            connection = {"connectedAt": at, "connectionId": f"conn-{self.id}-{at:.0f}"}
        return up(self.id, now, lastHeartbeat=beat, lastSeenAt=beat, **connection, **self.fields)


class Site:
    def __init__(self, *ids: str) -> None:
        started, count = time.time() * 1000, len(ids)
        self.machines = {id_: Machine(id_, started - place * PERIOD_MS / count) for place, id_ in enumerate(ids)}
        self._at_once = RLock()
        """Held over changes for the same listing."""
        self.server = Faulty(self._rows)

    def _rows(self, now: float) -> list[dict[str, Any]]:
        with self._at_once:
            return [machine.row(now) for machine in self.machines.values()]

    def close(self, *ids: str) -> None:
        with self._at_once:
            for id_ in ids:
                self.machines[id_].closed_at = time.time() * 1000

    def cut(self, *ids: str) -> None:
        with self._at_once:
            for id_ in ids:
                self.machines[id_].silent_at = time.time() * 1000

    def restore(self, *ids: str) -> None:
        with self._at_once:
            for id_ in ids:
                machine = self.machines[id_]
                machine.closed_at = machine.silent_at = None
                machine.connected_at = time.time() * 1000

    @property
    def listings(self) -> int:
        return sum(seen.path == LISTING and "after" not in seen.query for seen in self.server.seen)


class Watch:
    """A running `envwatch watch --hooks` or `envwatch serve --hooks`."""

    def __init__(self, process: programs.Program, err: Path) -> None:
        self.process = process
        self._err = err

    @property
    def errors(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


class Desk:
    """A machine that runs envwatch: configuration, state folder, and hook files.

    Args:
        home: an empty folder.
        sites: by profile name.
        settings: configuration lines for every profile.
        speed: seconds of this process in a real second.
        hooks: scripts by hook name; `$0` is the hook's file.
        more: further lines of the configuration.
        every_row: whether a loss of any row needs a person, in place of the default.
        is_served: whether `serve --hooks` runs the hooks, in place of `watch --hooks`.
    """

    def __init__(
        self,
        home: Path,
        sites: dict[str, Site],
        settings: str = "",
        *,
        speed: float = 1.0,
        hooks: dict[str, str] | None = None,
        more: str = "",
        every_row: bool = True,
        is_served: bool = False,
    ) -> None:
        self.home = home
        self._every_row = every_row
        self._is_served = is_served
        self.sites = sites
        self.speed = speed
        self._settings = settings
        self._hooks = {"page": APPENDS} if hooks is None else hooks
        self._more = more
        self._open = ExitStack()
        self._runs = 0

    def __enter__(self) -> Self:
        lines = ["page_size = 250", "requests_per_minute = 6000", self._settings]
        lines += [] if "history" in self._settings else ["history = false"]
        for name, site in self.sites.items():
            self._open.enter_context(running(site.server))
            lines += [f"[profiles.{name}]", f'base_url = "{site.server.url}"', 'api_key_env = "SITE_KEY"']
        for name, script in self._hooks.items():
            command = ["sh", "-c", script, str(self.file_of(name))]
            lines += ["[[hooks]]", f'name = "{name}"', f"command = {json.dumps(command)}"]
        (self.home / "config.toml").write_text("\n".join([*lines, self._more]), encoding="utf-8")
        tokens = self.home / "serve-tokens"
        tokens.write_text("ann token-of-ann-0123456789\n", encoding="utf-8")
        tokens.chmod(0o600)
        return self

    def __exit__(self, _type: type[BaseException] | None, _: object, _trace: TracebackType | None) -> None:
        self._open.close()

    def file_of(self, hook: str) -> Path:
        return self.home / f"hook-{hook}"

    @property
    def alert_files(self) -> list[Path]:
        """The profiles' alert states, which a run has written."""
        return [*(self.home / "state" / "envwatch" / "alerts").glob("*.json")]

    @property
    def alert_file(self) -> Path:
        """The only profile's alert state."""
        (found,) = self.alert_files
        return found

    @property
    def is_recorded(self) -> bool:
        """Whether the history has a poll."""
        with suppress(HistoryError):
            return any(StoredPast(folder).polls(*ALWAYS) for folder in self.home.glob("state/envwatch/history/*"))
        return False

    @property
    def environ(self) -> dict[str, str]:
        faked = {name: os.environ[name] for name in _FAKETIME if name in os.environ}
        named = {"ENVWATCH_CONFIG": str(self.home / "config.toml"), "XDG_STATE_HOME": str(self.home / "state")}
        usual = environment if self._every_row else without_settings
        return usual(self.home, SITE_KEY=KEY, **named, **faked)

    @property
    def profiles(self) -> str:
        return ",".join(self.sites)

    def check(self) -> tuple[int, str]:
        """Return exit code and output of `envwatch check` for all machines except sentinels."""
        return self.run("check", "--filter", "!sentinel")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and output of a command."""
        command = [*_ENVWATCH, *arguments, "--profile", self.profiles]
        done = programs.run(command, self.environ, folder=self.home)
        return done.returncode, done.stdout.decode()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Run the hooks for the context's duration.

        Enter at the program's third listing, with a written alert state for each profile.
        """
        self._runs += 1
        err = self.home / f"err-{self._runs}"
        program = ("serve", "--bind", "127.0.0.1:0") if self._is_served else ("watch", "-o", "jsonl")
        command = [*_ENVWATCH, *program, "--hooks", "--profile", self.profiles]
        with Path(os.devnull).open("r+b") as nothing, err.open("wb") as to_err:
            streams = (nothing.fileno(), nothing.fileno(), to_err.fileno())
            process = programs.start(command, self.environ, streams, folder=self.home)
        watch = Watch(process, err)
        try:
            self.let_list(3, watch)
            self.wait_until(lambda: len(self.alert_files) == len(self.sites), "a written alert state")
            yield watch
        finally:
            process.kill()
            process.wait()

    def let_list(self, count: int, watch: Watch) -> None:
        """Wait for `count` more polls of each site, or for the program's end."""
        wanted = {name: site.listings + count for name, site in self.sites.items()}

        def are_listed() -> bool:
            has_ended = watch.process.poll() is not None
            return has_ended or all(site.listings >= wanted[name] for name, site in self.sites.items())

        self.wait_until(are_listed, f"{count} listings")

    def told(self, hook: str = "page") -> list[Told]:
        path = self.file_of(hook)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [told_by(event, float(at)) for at, event in (line.split(" ", 1) for line in lines)]

    def is_told_of(self, name: str, profile: str = "work") -> bool:
        return any(name in told.names for told in self.told() if (told.what, told.profile) == ("opened", profile))

    def lose_sentinel(self, site: Site, profile: str = "work") -> None:
        """Lose the sentinel and wait for the message: all messages due before have then arrived."""
        site.close("sentinel")
        what = f"the message about the last machine of {profile}"
        self.wait_until(lambda: self.is_told_of("sentinel", profile), what)

    def wait_until(self, condition: Callable[[], object], what: str, at_most_s: float = math.inf) -> bool:
        """Wait until a condition holds; return whether the condition held within `at_most_s` seconds of this process.

        Raises:
            AssertionError: after `PATIENCE_S`, without `at_most_s`.
        """
        started, patience_s = time.time(), PATIENCE_S * self.speed
        while not condition():
            if (waited_s := time.time() - started) > at_most_s:
                return False
            assert waited_s < patience_s or at_most_s < math.inf, f"missing: {what}\n{self.tale().text}"
            time.sleep(0.02 * self.speed)
        return True

    def tale(self, **notes: Any) -> Tale:
        said = "\n".join(path.read_text(encoding="utf-8")[-1500:] for path in sorted(self.home.glob("err-*")))
        return Tale(self.told(), notes, said)


class Tale(NamedTuple):
    told: list[Told]
    notes: dict[str, Any]
    said: str = ""

    @property
    def names(self) -> list[tuple[str, list[str]]]:
        return [(each.what, list(each.names)) for each in self.told]

    @property
    def distinct_names(self) -> list[tuple[str, list[str]]]:
        """The same without repetitions.

        envwatch kills a hook after 30 s of envwatch's clock and sends the message again; a busy machine may be that
        slow on a fast clock.
        """
        distinct = {(each.what, each.incident): each for each in self.told}
        return [(each.what, list(each.names)) for each in distinct.values()]

    @property
    def text(self) -> str:
        lines = [f"  {each.at:.0f} {each.what} {each.incident}: {each.names} ({each.summary})" for each in self.told]
        return "\n".join(["delivered:", *lines, f"notes: {self.notes}", self.said])


Story: TypeAlias = "Callable[[Path, float], Tale]"

_BOXES: Final = ("box-0", "box-1", "box-2", "box-3")
_SOON: Final = 'interval = "1s"\nalert_after = "2s"'


def killed_and_damaged(home: Path, speed: float) -> Tale:
    """envwatch is killed and a machine goes down; then envwatch ends, its alert state is damaged, and a second one goes
    down.
    """
    site = Site(*_BOXES, "sentinel")
    with Desk(home, {"work": site}, f"{_SOON}\nhistory = true", speed=speed) as desk:
        with desk.watching() as watch:
            desk.wait_until(lambda: desk.is_recorded, "a recorded poll")
            watch.end(signal.SIGKILL)
        site.close("box-0")
        with desk.watching() as watch:
            desk.wait_until(lambda: desk.is_told_of("box-0"), "the message about the first machine")
            code = watch.end()
        site.close("box-1")
        path = desk.alert_file
        path.write_text("{damaged", encoding="utf-8")
        with desk.watching() as watch:
            desk.let_list(2, watch)
            desk.lose_sentinel(site)
            return desk.tale(code=code, errors=watch.errors, path=str(path))


def holder_killed(home: Path, speed: float) -> Tale:
    """The process that runs the hooks is killed after the opening of an incident, and before the write."""
    site = Site(*_BOXES, "sentinel")
    hooks = {"page": f'if [ -e "$0.hold" ]; then sleep 60; exit 1; fi; {APPENDS}'}
    settings = 'interval = "1s"\nalert_after = "8s"'
    with Desk(home, {"work": site}, settings, speed=speed, hooks=hooks) as desk, desk.watching() as holder:
        path, hold = desk.alert_file, desk.file_of("page").with_name("hook-page.hold")
        with desk.watching() as waiting:
            hold.touch()
            site.close("box-0")
            desk.wait_until(lambda: '"box-0"' in path.read_text().partition('"waiting"')[2], "the written loss")
            path.with_name(f"{path.name}.new").mkdir()  # every further write fails
            desk.wait_until(lambda: "cannot remember" in holder.errors, "the failed write of the opening")
            desk.let_list(2, waiting)
            holder.end(signal.SIGKILL)
            hold.unlink()
            path.with_name(f"{path.name}.new").rmdir()
            desk.wait_until(lambda: desk.is_told_of("box-0"), "the message of the process that takes over")
            desk.lose_sentinel(site)
            return desk.tale()


def power_cut(home: Path, speed: float) -> Tale:
    """40 of 120 machines lose power at once; heartbeats expire one after the other."""
    dark = [f"dark-{number:02}" for number in range(40)]
    # Dark and lit machines alternate in the order of heartbeats.
    ids = [id_ for number in range(40) for id_ in (f"lit-{number:02}", dark[number], f"lit-{number + 40}")]
    site = Site(*ids[:-1], "sentinel")
    with Desk(home, {"work": site}, speed=speed) as desk, desk.watching():
        site.cut(*dark)
        desk.wait_until(lambda: any(desk.is_told_of(id_) for id_ in dark), "a message about the power cut")
        desk.lose_sentinel(site)
        return desk.tale(dark=dark)


def only_a_hook(home: Path, speed: float) -> Tale:
    """Servers, laptops and jobs lose power at once; the configuration has nothing about alerts but a hook."""
    servers, others = ("db", "nas", "web"), ("mac-ana", "pc-ben", "ci-1", "ci-2")
    site = Site(*servers, *others)
    began_at = time.time() * 1000
    for name, hours, system in [
        *((name, 72, "linux") for name in servers),
        ("mac-ana", 72, "darwin"),
        ("pc-ben", 30, "win32"),
        ("ci-1", 1, "linux"),
        ("ci-2", 22, "linux"),
    ]:
        machine = site.machines[name]
        machine.connected_at, machine.fields = began_at - hours * 3_600_000, {"metadata": {"os": system}}
    with Desk(home, {"work": site}, speed=speed, every_row=False) as desk, desk.watching() as watch:
        site.cut(*servers, *others)
        desk.wait_until(lambda: desk.is_told_of("web"), "the message about the servers")
        beats = [site.machines[name].row(time.time() * 1000)["lastHeartbeat"] / 1000 for name in servers]
        silent_s = desk.told()[0].at - min(beats)
        desk.let_list(20, watch)
        return desk.tale(silent_s=silent_s)


class _Service(ThreadingHTTPServer):
    """A web service that answers 503 until opened."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.is_open = False
        self.refused = 0
        self.taken: list[Told] = []
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Posted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.is_open:
            self.server.taken.append(told_by(body, time.time()))
        else:
            self.server.refused += 1
        self.send_response(202 if self.server.is_open else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def service_down(home: Path, speed: float) -> Tale:
    """A command's service and a web hook are down for 31 minutes; the machine stays lost."""
    site = Site("box", "other")
    hooks = {"page": f'if [ -e "$0.up" ]; then {APPENDS}; else echo tried >> "$0.tried"; exit 1; fi'}
    with _Service() as service:
        posts = f'[[hooks]]\nname = "post"\nurl = "http://127.0.0.1:{service.server_address[1]}/"'
        settings = 'interval = "60s"'
        with (
            Desk(home, {"work": site}, settings, speed=speed, hooks=hooks, more=posts) as desk,
            desk.watching() as watch,
        ):
            path = desk.file_of("page")
            tried, is_up = path.with_name(f"{path.name}.tried"), path.with_name(f"{path.name}.up")
            site.close("box")
            desk.wait_until(lambda: service.refused and tried.exists(), "a try of both hooks")
            time.sleep(31 * MINUTE)
            service.is_open = True
            is_up.touch()
            # Retries are up to 5 minutes apart. A fast clock leaves a busy machine little time.
            desk.wait_until(lambda: service.taken and desk.told(), "", at_most_s=30 * MINUTE)
            posted = [(each.what, list(each.names)) for each in service.taken]
            tale = desk.tale(posted=posted, runs=watch.process.poll() is None)
            service.shutdown()
            return tale


def one_id_on_two_servers(home: Path, speed: float) -> Tale:
    """Two servers list the same id; both rows are lost, and one row is acknowledged on the dashboard."""
    sites = {name: Site("box", "other", "sentinel") for name in ("acme", "bolt")}
    with Desk(home, sites, _SOON, speed=speed) as desk:
        with desk.watching() as watch:
            watch.end()
        for site in sites.values():
            site.close("box")
        _acknowledge_on_the_dashboard(desk, "acme")
        with desk.watching():
            for name, site in sites.items():
                desk.lose_sentinel(site, name)
            code, output = desk.check()
            return desk.tale(check=code, output=output)


def _acknowledge_on_the_dashboard(desk: Desk, profile: str) -> None:
    environ = desk.environ
    with Terminal.of_envwatch("--profile", profile, home=desk.home, columns=140, environ=environ) as terminal:
        terminal.wait_for(r"○ 1 page")
        terminal.press("n")
        terminal.wait_for("^.►○ off .* box ")
        terminal.press("a")
        terminal.wait_for("Acknowledge on this machine: box, until it recovers")
        terminal.press("\r")
        terminal.wait_for("acknowledged on this machine until it recovers: box")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def key_revoked(home: Path, speed: float) -> Tale:
    """The key is refused (401) until envwatch reports so and 30 minutes have passed; then the key works again."""
    site = Site("box", "other")
    with Desk(home, {"work": site}, 'interval = "60s"', speed=speed) as desk, desk.watching() as watch:
        revoked_at = time.time()
        site.server.break_every_page(says(401, '{"message":"Unauthorized"}'))

        def has_ended() -> bool:
            return watch.process.poll() is not None

        desk.wait_until(lambda: has_ended() or desk.told(), "", at_most_s=60 * MINUTE)
        ended_with, told = watch.process.poll(), len(desk.told())
        site.server.heal()
        desk.wait_until(lambda: has_ended() or len(desk.told()) > told, "", at_most_s=60 * MINUTE)
        return desk.tale(revoked_at=revoked_at, ended_with=ended_with)


def set_to_always(home: Path, speed: float) -> Tale:
    """A machine set to never goes down, and is set to always while no hook process runs."""
    site = Site("box", "other", "sentinel")
    with Desk(home, {"work": site}, _SOON, speed=speed) as desk:
        with desk.watching() as watch:
            watch.end()
        desk.run("alerts", "set", "box", "never")
        with desk.watching() as watch:
            site.close("box")
            desk.let_list(5, watch)
            told = desk.told()
            watch.end()
        desk.run("alerts", "set", "box", "always")
        with desk.watching():
            desk.wait_until(lambda: desk.is_told_of("box"), "the message about the machine")
            desk.lose_sentinel(site)
            return desk.tale(told=told)


def renamed_and_killed(home: Path, speed: float) -> Tale:
    """A server is renamed, envwatch is killed, the platform drops the old row, and the server goes down."""
    site = Site("old", "new", "other", "sentinel")
    began_at, place = time.time() * 1000, {"deviceId": "d", "listenerInstanceId": "server-0123456789abcdef"}
    for machine in site.machines.values():
        machine.connected_at = began_at - 72 * 3_600_000
    new = site.machines.pop("new")
    site.machines["old"].fields = {**place, "firstSeenAt": site.machines["old"].connected_at}
    with Desk(home, {"work": site}, _SOON, speed=speed, every_row=False) as desk:
        with desk.watching() as watch:
            site.close("old")
            new.connected_at = time.time() * 1000
            new.fields = {**place, "firstSeenAt": new.connected_at}
            site.machines = {**site.machines, "new": new}
            desk.let_list(3, watch)
            watch.end(signal.SIGKILL)
        site.machines = {id_: machine for id_, machine in site.machines.items() if id_ != "old"}
        with desk.watching():
            site.close("new")
            desk.wait_until(lambda: desk.is_told_of("new"), "the message about the renamed server")
            desk.lose_sentinel(site)
            return desk.tale()


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        killed_and_damaged,
        holder_killed,
        power_cut,
        only_a_hook,
        service_down,
        one_id_on_two_servers,
        key_revoked,
        set_to_always,
        renamed_and_killed,
    )
}


def tale_of(name: str, home: Path, speed: int) -> Tale:
    """Tell a story here, or on a fast clock in a separate process."""
    if speed == 1:
        return STORIES[name](home, 1.0)
    told, notes, said = fast_clock.outcome_of([__file__, name], home, speed)
    return Tale([Told(at, what, tuple(names), *rest) for at, what, names, *rest in told], notes, said)


if __name__ == "__main__":
    fast_clock.give_outcome(STORIES[sys.argv[1]])
