"""Machines on scripted servers, the real `watch --hooks`, and the messages of the hooks.

All waits use `time`, so a story can also run under faketime.
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
from support.pty_terminal import environment, without_settings
from support.scripted_server import Scripted, down, up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

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


def told_again(values: Sequence[Any]) -> Told:
    at, what, names, *rest = values
    return Told(at, what, tuple(names), *rest)


class Seen(NamedTuple):
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
    """Time of one heartbeat; all heartbeats are whole periods apart."""
    period_ms: float = PERIOD_MS
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
        beat = last - (last - self.beat_at) % self.period_ms
        connection: dict[str, Any] = {}
        if (at := self.connected_at) is not None:
            beat = max(beat, at)
            connection = {"connectedAt": at, "connectionId": f"conn-{self.id}-{at:.0f}"}
        return up(self.id, now, lastHeartbeat=beat, lastSeenAt=beat, **connection, **self.fields)


class Site:
    def __init__(self, *ids: str, period_ms: float = PERIOD_MS) -> None:
        started, count = time.time() * 1000, len(ids)
        self.machines = {
            id_: Machine(id_, started - place * period_ms / count, period_ms) for place, id_ in enumerate(ids)
        }
        self.at_once = RLock()
        """Held over changes for the same listing."""
        self._hidden: frozenset[str] = frozenset()
        self._hidden_listings = 0
        self.server = Scripted(self._rows)

    def _rows(self, now: float) -> Sequence[dict[str, Any]]:
        with self.at_once:
            self._hidden_listings -= 1
            hidden = self._hidden if self._hidden_listings >= 0 else ()
            self.server.unlisted = [self.machines[id_].row(now) for id_ in hidden]
            return [machine.row(now) for id_, machine in self.machines.items() if id_ not in hidden]

    def add(self, machine: Machine) -> None:
        with self.at_once:
            self.machines[machine.id] = machine

    def remove(self, *ids: str) -> None:
        """Drop rows for good."""
        with self.at_once:
            for id_ in ids:
                del self.machines[id_]

    def hide(self, *ids: str, listings: int) -> None:
        """Leave rows out of the next listings."""
        with self.at_once:
            self._hidden, self._hidden_listings = frozenset(ids), listings

    def close(self, *ids: str) -> None:
        with self.at_once:
            for id_ in ids:
                self.machines[id_].closed_at = time.time() * 1000

    def cut(self, *ids: str) -> None:
        with self.at_once:
            for id_ in ids:
                self.machines[id_].silent_at = time.time() * 1000

    def restore(self, *ids: str) -> None:
        with self.at_once:
            for id_ in ids:
                machine = self.machines[id_]
                machine.closed_at = machine.silent_at = None
                machine.connected_at = time.time() * 1000

    @property
    def listings(self) -> int:
        return sum(1 for seen in self.server.seen if "after" not in seen.query)


class Watch:
    """A running `envwatch watch --hooks`."""

    def __init__(self, process: programs.Program, out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    def events(self) -> list[Seen]:
        lines = self._out.read_bytes().split(b"\n")[:-1]
        return [event for line in lines for event in _events_in(json.loads(line))]

    def names(self, word: str) -> list[str]:
        return [event.name for event in self.events() if event.word == word]

    @property
    def errors(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def _events_in(event: dict[str, Any]) -> Iterator[Seen]:
    data, word = event["data"], event["type"].rpartition(".")[2]
    for row in data["members"] or [data]:
        yield Seen(word, row.get("name") or "", row["before"], row["after"])


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
        every_row: bool = True,
    ) -> None:
        self.home = home
        self._every_row = every_row
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
        return self

    def __exit__(self, _type: type[BaseException] | None, _: object, _trace: TracebackType | None) -> None:
        self._open.close()

    def file_of(self, hook: str) -> Path:
        return self.home / f"hook-{hook}"

    @property
    def alert_file(self) -> Path:
        """The only profile's alert state, which a run has written."""
        (found,) = (self.home / "state" / "envwatch" / "alerts").glob("*.json")
        return found

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
        command = [*_ENVWATCH, "check", "--profile", self.profiles, "--filter", "!sentinel"]
        done = programs.run(command, self.environ, folder=self.home)
        return done.returncode, done.stdout.decode()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Run `envwatch watch --hooks` for the context's duration; enter at the program's third listing."""
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
        """Wait for `count` more listings of each site, or for the program's end."""
        wanted = {name: site.listings + count for name, site in self.sites.items()}

        def are_listed() -> bool:
            has_ended = watch.process.poll() is not None
            return has_ended or all(site.listings >= wanted[name] for name, site in self.sites.items())

        self.wait_until(are_listed, f"{count} listings")

    def told(self, hook: str = "page") -> list[Told]:
        path = self.file_of(hook)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [told_by(event, float(at)) for at, event in (line.split(" ", 1) for line in lines)]

    def is_told_of(self, name: str, what: str = "opened", profile: str = "work") -> bool:
        return any(name in told.names for told in self.told() if (told.what, told.profile) == (what, profile))

    def lose_sentinel(self, site: Site, profile: str = "work") -> None:
        """Lose the sentinel and wait for the message: all messages due before have then arrived."""
        site.close("sentinel")
        what = f"the message about the last machine of {profile}"
        self.wait_until(lambda: self.is_told_of("sentinel", profile=profile), what)

    def wait_until(self, condition: Callable[[], object], what: str, at_most_s: float = math.inf) -> bool:
        """Wait until a condition holds; return whether the condition held within `at_most_s` seconds of this process.

        Raises:
            AssertionError: after `PATIENCE_S`, without `at_most_s`.
        """
        started, patience_s = time.time(), PATIENCE_S * self.speed
        while not condition():
            if (waited_s := time.time() - started) > at_most_s:
                return False
            assert waited_s < patience_s or at_most_s < math.inf, f"missing: {what}\n{self.report()}"
            time.sleep(0.02 * self.speed)
        return True

    def report(self) -> str:
        return f"{in_lines(self.told())}\n{self.said()}"

    def said(self) -> str:
        return "\n".join(path.read_text(encoding="utf-8")[-1500:] for path in sorted(self.home.glob("err-*")))


def in_lines(told: Iterable[Told]) -> str:
    lines = [f"  {each.at:.0f} {each.what} {each.incident}: {', '.join(each.names)} ({each.summary})" for each in told]
    return "\n".join(["delivered:", *lines])
