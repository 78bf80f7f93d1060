"""Machines on scripted servers, the real `watch --hooks` before the servers, and the messages of its hooks.

All waiting is by `time`, so that a story about these machines can also run under faketime, where a second is shorter.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from support import programs
from support.byte_scanner import running
from support.faulty_server import KEY
from support.pty_terminal import environment
from support.scripted_server import Scripted, down, up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

PERIOD_MS: Final = 30_000.0
"""From heartbeat to heartbeat."""

PATIENCE_S: Final = 60.0
"""Real seconds that a story waits: a busy machine is slow and not wrong."""

_ENVWATCH: Final = (sys.executable, "-m", "envwatch")

_FAKETIME: Final = ("LD_PRELOAD", "FAKETIME", "FAKETIME_SHARED")
"""Variables by which a program has the clock of the program that starts it."""

APPENDS: Final = 'at=$(date +%s); printf "%s %s\\n" "$at" "$(cat)" >> "$0"'
"""A hook's script that appends a line to its file: the second of the delivery, and the CloudEvent."""


class Told(NamedTuple):
    """A message that a hook was given."""

    at: float
    """When; seconds since the epoch."""
    what: str
    """`opened` or `resolved`."""
    names: tuple[str, ...]
    """Of the environments; empty for an incident about envwatch."""
    incident: str
    profile: str | None
    summary: str


def told_by(cloud_event: str, at: float) -> Told:
    """Return the message that a CloudEvent is."""
    event = json.loads(cloud_event)
    data = event["data"]
    names = tuple(sorted(each["name"] for each in data.get("environments") or ()))
    what = event["type"].removeprefix("envwatch.incident.")
    return Told(at, what, names, data["incident"], data["profile"], data["summary"])


def told_again(values: Sequence[Any]) -> Told:
    """Return a message that was JSON in between."""
    at, what, names, *rest = values
    return Told(at, what, tuple(names), *rest)


class Seen(NamedTuple):
    """An event of an environment that `watch` printed."""

    word: str
    """`offline`, `renamed`, …."""
    name: str
    before: str | None
    after: str | None


@dataclass
class Machine:
    """A machine and its row. Instants are milliseconds since the epoch."""

    id: str
    beat_at: float = 0.0
    """A heartbeat; the others are whole periods away."""
    period_ms: float = PERIOD_MS
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the row, by their names on the wire."""
    connected_at: float | None = None
    """When it connected; None for a day before the test."""
    silent_at: float | None = None
    """When its power failed: the row keeps its connection."""
    closed_at: float | None = None
    """When its connection was closed: the row loses its connection."""

    def row(self, now: float) -> dict[str, Any]:
        if self.closed_at is not None:
            return down(self.id, self.closed_at, **self.fields)
        last = now if self.silent_at is None else min(now, self.silent_at)
        beat = last - (last - self.beat_at) % self.period_ms
        connection: dict[str, Any] = {}
        if (at := self.connected_at) is not None:
            beat = max(beat, at)
            connection = {"connectedAt": at, "connectionId": f"conn-{self.id}-{at:.0f}"}
        return up(self.id, now, lastHeartbeat=beat, lastSeenAt=beat, **connection, **self.fields)


class Site:
    """Machines, and the server that lists their rows."""

    def __init__(self, *ids: str, period_ms: float = PERIOD_MS) -> None:
        started, count = time.time() * 1000, len(ids)
        self.machines = {
            id_: Machine(id_, started - place * period_ms / count, period_ms) for place, id_ in enumerate(ids)
        }
        self.at_once = RLock()
        """Held over changes that are in the same listing."""
        self.server = Scripted(self._rows)

    def _rows(self, now: float) -> Sequence[dict[str, Any]]:
        with self.at_once:
            return [machine.row(now) for machine in self.machines.values()]

    def add(self, machine: Machine) -> None:
        with self.at_once:
            self.machines[machine.id] = machine

    def close(self, *ids: str) -> None:
        """Close the connections of machines, as when their listeners end."""
        with self.at_once:
            for id_ in ids:
                self.machines[id_].closed_at = time.time() * 1000

    def cut(self, *ids: str) -> None:
        """Cut the power of machines."""
        with self.at_once:
            for id_ in ids:
                self.machines[id_].silent_at = time.time() * 1000

    def restore(self, *ids: str) -> None:
        """Let machines connect anew."""
        with self.at_once:
            for id_ in ids:
                machine = self.machines[id_]
                machine.closed_at = machine.silent_at = None
                machine.connected_at = time.time() * 1000

    @property
    def listings(self) -> int:
        """How many listings were asked for."""
        return sum(1 for seen in self.server.seen if "after" not in seen.query)


class Watch:
    """A running `envwatch watch --hooks`."""

    def __init__(self, process: programs.Program, out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    def events(self) -> list[Seen]:
        """Return the events of environments that the program has printed, the members of groups among them."""
        lines = self._out.read_bytes().split(b"\n")[:-1]
        return [event for line in lines for event in _events_in(json.loads(line))]

    def names(self, word: str) -> list[str]:
        """Return the names of the environments that have had such an event."""
        return [event.name for event in self.events() if event.word == word]

    @property
    def errors(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the program by a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def _events_in(event: dict[str, Any]) -> Iterator[Seen]:
    data, word = event["data"], event["type"].rpartition(".")[2]
    for row in data["members"] or [data]:
        yield Seen(word, row.get("name") or "", row["before"], row["after"])


class Desk:
    """The machine on which envwatch runs: a configuration, a state folder, and the files of its hooks.

    Args:
        home: an empty folder.
        sites: what is watched, by the names of the profiles.
        settings: lines of the configuration for every profile.
        speed: how many seconds of this process pass in a real second.
        hooks: the scripts of the hooks by their names; `$0` is a hook's file.
        more: further lines of the configuration.
    """

    def __init__(
        self,
        home: Path,
        sites: dict[str, Site],
        settings: str = "",
        *,
        speed: float,
        hooks: dict[str, str] | None = None,
        more: str = "",
    ) -> None:
        self.home = home
        self.sites = sites
        self.speed = speed
        self._settings = settings
        self._hooks = {"page": APPENDS} if hooks is None else hooks
        self._more = more
        self._open = ExitStack()
        self._runs = 0

    def __enter__(self) -> Self:
        lines = ["page_size = 250", "requests_per_minute = 6000", "history = false", self._settings]
        for name, site in self.sites.items():
            self._open.enter_context(running(site.server))
            lines += [f"[profiles.{name}]", f'base_url = "{site.server.url}"', 'api_key_env = "SITE_KEY"']
        for name, script in self._hooks.items():
            command = ["sh", "-c", script, str(self.file_of(name))]
            lines += ["[[hooks]]", f'name = "{name}"', f"command = {json.dumps(command)}"]
        (self.home / "config.toml").write_text("\n".join([*lines, self._more]), encoding="utf-8")
        return self

    def __exit__(self, _type: type[BaseException] | None, _: object, _trace: TracebackType | None) -> None:
        self._open.close()

    def file_of(self, hook: str) -> Path:
        return self.home / f"hook-{hook}"

    @property
    def environ(self) -> dict[str, str]:
        faked = {name: os.environ[name] for name in _FAKETIME if name in os.environ}
        named = {"ENVWATCH_CONFIG": str(self.home / "config.toml"), "XDG_STATE_HOME": str(self.home / "state")}
        return environment(self.home, SITE_KEY=KEY, **named, **faked)

    @property
    def profiles(self) -> str:
        return ",".join(self.sites)

    def check(self) -> tuple[int, str]:
        """Return the exit code of `envwatch check` for all machines but the sentinels, and the output."""
        command = [*_ENVWATCH, "check", "--profile", self.profiles, "--filter", "!sentinel"]
        done = programs.run(command, self.environ, folder=self.home)
        return done.returncode, done.stdout.decode()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Run `envwatch watch --hooks` as long as the context lasts, from the program's third listing on."""
        self._runs += 1
        out, err = self.home / f"out-{self._runs}", self.home / f"err-{self._runs}"
        command = [*_ENVWATCH, "watch", "--hooks", "-o", "jsonl", "--profile", self.profiles]
        with Path(os.devnull).open("rb") as nothing, out.open("wb") as to_out, err.open("wb") as to_err:
            streams = (nothing.fileno(), to_out.fileno(), to_err.fileno())
            process = programs.start(command, self.environ, streams, folder=self.home)
        watch = Watch(process, out, err)
        try:
            self.let_list(3, watch)
            yield watch
        finally:
            process.kill()
            process.wait()

    def let_list(self, count: int, watch: Watch) -> None:
        """Wait until so many listings of each site were asked for from now, or the program has ended."""
        wanted = {name: site.listings + count for name, site in self.sites.items()}

        def are_listed() -> bool:
            has_ended = watch.process.poll() is not None
            return has_ended or all(site.listings >= wanted[name] for name, site in self.sites.items())

        self.wait_until(are_listed, f"{count} listings")

    def told(self, hook: str = "page") -> list[Told]:
        """Return the messages that a hook was given."""
        path = self.file_of(hook)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [told_by(event, float(at)) for at, event in (line.split(" ", 1) for line in lines)]

    def is_told_of(self, name: str, what: str = "opened", profile: str = "work") -> bool:
        return any(name in told.names for told in self.told() if (told.what, told.profile) == (what, profile))

    def lose_sentinel(self, site: Site, profile: str = "work") -> None:
        """Lose one more machine, and wait for the message: every message that was due before has come then."""
        site.close("sentinel")
        what = f"the message about the last machine of {profile}"
        self.wait_until(lambda: self.is_told_of("sentinel", profile=profile), what)

    def wait_until(self, condition: Callable[[], object], what: str, at_most_s: float = math.inf) -> bool:
        """Wait until something holds; return whether it does, where there is a limit in seconds of this process.

        Raises:
            AssertionError: if it does not hold for long, and there is no limit.
        """
        started, patience_s = time.time(), PATIENCE_S * self.speed
        while not condition():
            if (waited_s := time.time() - started) > at_most_s:
                return False
            assert waited_s < patience_s or at_most_s < math.inf, f"missing: {what}\n{self.report()}"
            time.sleep(0.02 * self.speed)
        return True

    def report(self) -> str:
        """Return everything that was delivered and said, for the message of a failure."""
        return f"{in_lines(self.told())}\n{self.said()}"

    def said(self) -> str:
        """Return the end of what the runs said on standard error."""
        return "\n".join(path.read_text(encoding="utf-8")[-1500:] for path in sorted(self.home.glob("err-*")))


def in_lines(told: Iterable[Told]) -> str:
    """Return messages for people, one a line."""
    lines = [f"  {each.at:.0f} {each.what} {each.incident}: {', '.join(each.names)} ({each.summary})" for each in told]
    return "\n".join(["delivered:", *lines])
