"""Stories of machines under the real `watch --hooks`, with the delivered messages.

A story takes an empty folder and the clock's speed. No duration depends on the speed.
`python alert_stories.py STORY FOLDER SPEED` tells one story; see `fast_clock`.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from support import fast_clock
from support.alert_world import APPENDS, Desk, Machine, Site, Told, in_lines, told_again, told_by
from support.faulty_server import says
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINUTE = 60


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
        return f"{in_lines(self.told)}\nnotes: {self.notes}\n{self.said}"


Story: TypeAlias = "Callable[[Path, float], Tale]"


def tale_of(desk: Desk, **notes: Any) -> Tale:
    return Tale(desk.told(), notes, desk.said())


@dataclass(frozen=True)
class PowerCut:
    """40 of 120 machines lose power at once; heartbeats expire one after the other."""

    period_s: float
    settings: str

    def __call__(self, home: Path, speed: float) -> Tale:
        dark = [f"dark-{number:02}" for number in range(40)]
        # Dark and lit machines alternate in the order of heartbeats.
        ids = [id_ for number in range(40) for id_ in (f"lit-{number:02}", dark[number], f"lit-{number + 40}")]
        site = Site(*ids[:-1], "sentinel", period_ms=self.period_s * 1000)
        with Desk(home, {"work": site}, self.settings, speed=speed) as desk, desk.watching() as watch:
            site.cut(*dark)
            desk.wait_until(lambda: any(desk.is_told_of(id_) for id_ in dark), "a message about the power cut")
            desk.wait_until(lambda: set(dark) <= {*watch.names("offline")}, "40 rows offline")
            desk.lose_sentinel(site)
            return tale_of(desk, dark=dark)


def rename(home: Path, speed: float) -> Tale:
    """Two listeners are renamed; the new rows connect 3 and 6 s after the old rows disconnect."""
    site = Site("old-a", "old-b", "other", "sentinel")
    for number, id_ in enumerate(("old-a", "old-b")):
        site.machines[id_].fields = listener(id_, number)
    settings = 'interval = "1s"\nalert_after = "12s"'
    with Desk(home, {"work": site}, settings, speed=speed) as desk, desk.watching() as watch:
        site.close("old-a", "old-b")
        for number, id_ in enumerate(("new-a", "new-b")):
            time.sleep(3)
            now = time.time() * 1000
            fields = listener(id_, number) | {"firstSeenAt": now}
            site.add(Machine(id_, now, connected_at=now, fields=fields))
        desk.let_list(2, watch)
        desk.lose_sentinel(site)
        code, output = desk.check()
        renames = sorted({(each.before, each.after) for each in watch.events() if each.word == "renamed"})
        return tale_of(desk, renames=renames, check=code, output=output)


def listener(name: str, device: int) -> dict[str, Any]:
    """Return the fields that identify a row's listener; the instance is a hash of the computer's name."""
    instance = f"server-{name.encode().hex():0>16}"
    return {"deviceId": f"device-{device}", "listenerInstanceId": instance}


@dataclass(frozen=True)
class Restart:
    """A machine goes down while envwatch is not running."""

    ended_by: int

    def __call__(self, home: Path, speed: float) -> Tale:
        site = Site("box", "other", "sentinel")
        settings = 'interval = "1s"\nalert_after = "2s"'
        with Desk(home, {"work": site}, settings, speed=speed) as desk:
            with desk.watching() as watch:
                watch.end(self.ended_by)
            site.close("box")
            with desk.watching():
                desk.lose_sentinel(site)
            return tale_of(desk)


def lost_before_the_end(home: Path, speed: float) -> Tale:
    """A machine goes down, and envwatch ends before `alert_after` has passed."""
    site = Site("box", "other", "sentinel")
    settings = 'interval = "1s"\nalert_after = "7s"'
    with Desk(home, {"work": site}, settings, speed=speed) as desk:
        with desk.watching() as watch:
            site.close("box")
            desk.wait_until(lambda: "box" in watch.names("offline"), "the loss")
            watch.end()
        told = len(desk.told())
        with desk.watching():
            desk.lose_sentinel(site)
        return tale_of(desk, told_before_the_end=told)


_BOXES: Final = tuple(f"box-{number}" for number in range(6))
_SOON: Final = 'interval = "1s"\nalert_after = "2s"'


@dataclass(frozen=True)
class NotListed:
    """A row is lost and leaves the listing while envwatch is not running.

    `lost` says when the connection closes: never, long enough for a waiting loss, or for a message.
    """

    lost: str = "never"
    settings: str = _SOON

    def __call__(self, home: Path, speed: float) -> Tale:
        site = Site(*_BOXES, "sentinel")
        with Desk(home, {"work": site}, self.settings, speed=speed) as desk:
            with desk.watching() as watch:
                if self.lost != "never":
                    site.close("box-0")
                if self.lost == "waiting":
                    desk.wait_until(lambda: "box-0" in watch.names("offline"), "the loss")
                if self.lost == "announced":
                    desk.wait_until(lambda: desk.is_told_of("box-0"), "the message")
                watch.end(signal.SIGKILL if self.lost == "never" else signal.SIGTERM)
            site.remove("box-0")
            with desk.watching() as watch:
                desk.let_list(4, watch)
                desk.lose_sentinel(site)
            return tale_of(desk)


@dataclass(frozen=True)
class Lacking:
    """The first listings after a restart lack rows; `lost` says whether a lacking row is lost before or meanwhile.

    `answers` says whether the server answers a request for one row.
    """

    hidden: tuple[str, ...]
    listings: int
    lost: str
    answers: bool

    def __call__(self, home: Path, speed: float) -> Tale:
        site = Site(*_BOXES, "sentinel")
        site.server.answers_devices = self.answers
        with Desk(home, {"work": site}, _SOON, speed=speed) as desk:
            with desk.watching() as watch:
                if self.lost == "before":
                    site.close("box-5")
                    desk.wait_until(lambda: desk.is_told_of("box-5"), "the message")
                watch.end()
            site.close("box-5")
            site.hide(*self.hidden, listings=self.listings)
            with desk.watching() as watch:
                desk.let_list(self.listings + 2, watch)
                desk.wait_until(lambda: desk.is_told_of("box-5"), "the message about the lost row")
                desk.lose_sentinel(site)
            return tale_of(desk)


def never_registered(home: Path, speed: float) -> Tale:
    """A name of `expect` never registers, and envwatch is started twice."""
    site = Site(*_BOXES, "sentinel")
    with Desk(home, {"work": site}, f'{_SOON}\nexpect = ["never"]', speed=speed) as desk:
        with desk.watching() as watch:
            desk.wait_until(lambda: desk.is_told_of("never"), "the message about the missing name")
            watch.end()
        with desk.watching() as watch:
            desk.let_list(5, watch)
            desk.lose_sentinel(site)
        return tale_of(desk)


@dataclass(frozen=True)
class FileLost:
    """A machine goes down while envwatch is not running, and the alert state file is lost or damaged."""

    content: str | None
    """None removes the file."""
    settings: str = f"{_SOON}\nhistory = true"

    def __call__(self, home: Path, speed: float) -> Tale:
        site = Site(*_BOXES, "sentinel")
        with Desk(home, {"work": site}, self.settings, speed=speed) as desk:
            with desk.watching() as watch:
                watch.end()
            site.close("box-0")
            path = desk.alert_file
            if self.content is None:
                path.unlink()
            else:
                path.write_text(self.content, encoding="utf-8")
            with desk.watching() as watch:
                desk.let_list(2, watch)
                desk.lose_sentinel(site)
                errors = watch.errors
            log = (home / "state" / "envwatch" / "envwatch.log").read_text(encoding="utf-8")
            return tale_of(desk, errors=errors, log=log, path=str(path))


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
            return tale_of(desk)


def dead_machine(home: Path, speed: float) -> Tale:
    """A machine loses power, and envwatch has no settings about alerts."""
    site = Site("box", "other", "sentinel")
    with Desk(home, {"work": site}, speed=speed) as desk, desk.watching():
        site.cut("box")
        desk.wait_until(lambda: desk.is_told_of("box"), "the message about the machine")
        beat_at = site.machines["box"].row(time.time() * 1000)["lastHeartbeat"] / 1000
        silent_s = desk.told()[0].at - beat_at
        desk.lose_sentinel(site)
        return tale_of(desk, silent_s=silent_s)


def only_a_hook(home: Path, speed: float) -> Tale:
    """Servers, laptops and jobs go offline at once; the configuration has nothing about alerts but a hook."""
    servers, others = ("db", "nas", "web"), ("mac-ana", "pc-ben", "ci-1", "ci-2")
    site = Site(*servers, *others)
    began_at = time.time() * 1000
    for name, hours, system in [
        *((name, 72, "linux") for name in servers),
        ("mac-ana", 72, "darwin"),
        ("pc-ben", 30, "win32"),
        ("ci-1", 1, "linux"),
        ("ci-2", 23.9, "linux"),
    ]:
        machine = site.machines[name]
        machine.connected_at, machine.fields = began_at - hours * 3_600_000, {"metadata": {"os": system}}
    with Desk(home, {"work": site}, speed=speed, every_row=False) as desk, desk.watching() as watch:
        site.close(*servers, *others)
        desk.wait_until(lambda: desk.is_told_of("web"), "the message about the servers")
        desk.let_list(20, watch)
        return tale_of(desk)


def dark_site(home: Path, speed: float) -> Tale:
    """All machines of a fleet lose power at once."""
    site = Site(*(f"box-{number:02}" for number in range(12)))
    with Desk(home, {"work": site}, speed=speed) as desk, desk.watching():
        site.cut(*site.machines)
        cut_at = time.time()
        desk.wait_until(lambda: bool(desk.told()), "the message about the site", at_most_s=20 * MINUTE)
        return tale_of(desk, after_s=desk.told()[0].at - cut_at if desk.told() else None)


def new_name(home: Path, speed: float) -> Tale:
    """A machine falls silent, and returns under a new name before the old row's heartbeat expires."""
    site = Site("old", "other", "sentinel", period_ms=3_000)
    site.machines["old"].fields = listener("old", 0)
    settings = 'interval = "1s"\nonline_for = "15s"\nlate_after = "10s"\nalert_after = "3s"'
    with Desk(home, {"work": site}, settings, speed=speed) as desk, desk.watching() as watch:
        site.cut("old")
        time.sleep(5)
        now = time.time() * 1000
        site.add(Machine("new", now, 3_000, connected_at=now, fields=listener("new", 0) | {"firstSeenAt": now}))
        desk.wait_until(lambda: "renamed" in {each.word for each in watch.events()}, "the new name")
        desk.let_list(5, watch)
        desk.lose_sentinel(site)
        return tale_of(desk)


@dataclass
class _Dead(Machine):
    """A machine without power since 22 s before the first listing.

    A second replica rounds the heartbeat up, and answers every second request once the heartbeat is 35 s old.
    """

    age_s: float = 0.0
    asked: int = 0

    def row(self, now: float) -> dict[str, Any]:
        self.beat_at = self.silent_at = self.silent_at or now - 22_000
        self.age_s = (now - self.beat_at) / 1000
        self.asked += self.age_s > 35
        row = super().row(now)
        return row | {"lastHeartbeat": row["lastHeartbeat"] + self.asked % 2 / 2}


def wobble(home: Path, speed: float) -> Tale:
    """A dead heartbeat moves by 0.5 ms from listing to listing."""
    site = Site("other", "sentinel", period_ms=6_000)
    dead = _Dead("dead")
    site.add(dead)
    settings = 'interval = "1s"\nonline_for = "29s"\nlate_after = "20s"\nalert_after = "1s"'
    with Desk(home, {"work": site}, settings, speed=speed) as desk, desk.watching() as watch:
        desk.wait_until(lambda: desk.is_told_of("dead"), "the message about the dead machine")
        desk.wait_until(lambda: dead.asked > 4, "a heartbeat that has moved")
        desk.lose_sentinel(site)
        return tale_of(desk, events=[each.word for each in watch.events() if each.name == "dead"])


def flapping(home: Path, speed: float) -> Tale:
    """A row goes off and on every 7 s for 80 s, then is steady."""
    site = Site("shaky", "other", "sentinel")
    settings = 'interval = "2s"\nalert_after = "2s"'
    with Desk(home, {"work": site}, settings, speed=speed) as desk, desk.watching():
        steady_at = 0.0
        for _ in range(6):
            site.close("shaky")
            time.sleep(7)
            site.restore("shaky")
            steady_at = time.time()
            time.sleep(7)
        desk.wait_until(lambda: desk.is_told_of("shaky", "resolved"), "", at_most_s=3 * MINUTE)
        desk.lose_sentinel(site)
        return tale_of(desk, steady_at=steady_at)


_HANGS = """
echo started >> "$0"
n=0
while [ $n -lt 280 ] && [ ! -e "$0.go-on" ]; do n=$((n + 1)); sleep 0.1; done
echo ended >> "$0"
"""


def hanging_hook(home: Path, speed: float) -> Tale:
    """A hook hangs for 28 s; a second hook has the same message."""
    site = Site("box", "other")
    settings = 'interval = "1s"\nalert_after = "1s"'
    hooks = {"hangs": _HANGS, "page": APPENDS}
    with Desk(home, {"work": site}, settings, speed=speed, hooks=hooks) as desk, desk.watching():
        hanging = desk.file_of("hangs")
        site.close("box")
        desk.wait_until(lambda: hanging.exists() and desk.told(), "both hooks have run")
        tale = tale_of(desk, hanging=hanging.read_text(encoding="utf-8").split())
        hanging.with_name(f"{hanging.name}.go-on").touch()
        return tale


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
            tale = tale_of(desk, posted=posted, refused=service.refused, runs=watch.process.poll() is None)
            service.shutdown()
            return tale


def one_id_on_two_servers(home: Path, speed: float) -> Tale:
    """Two servers list the same id; both rows are lost, and one row is acknowledged on the dashboard."""
    sites = {name: Site("box", "other", "sentinel") for name in ("acme", "bolt")}
    settings = 'interval = "1s"\nalert_after = "2s"'
    with Desk(home, sites, settings, speed=speed) as desk:
        with desk.watching() as watch:
            watch.end()
        for site in sites.values():
            site.close("box")
        _acknowledge_on_the_dashboard(desk, "acme")
        with desk.watching():
            for name, site in sites.items():
                desk.lose_sentinel(site, name)
            code, output = desk.check()
            return tale_of(desk, check=code, output=output)


def _acknowledge_on_the_dashboard(desk: Desk, profile: str) -> None:
    environ = desk.environ
    with Terminal.of_envwatch("--profile", profile, home=desk.home, columns=140, environ=environ) as terminal:
        terminal.wait_for(r"○ 1 off")
        terminal.press("n")
        terminal.wait_for("^.►○ off .* box ")
        terminal.press("a")
        terminal.wait_for("Acknowledge box on this machine, until it recovers")
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
        return tale_of(desk, revoked_at=revoked_at, ended_with=ended_with)


STORIES: dict[str, Story] = {
    "power_cut": PowerCut(30, ""),
    "dead_machine": dead_machine,
    "only_a_hook": only_a_hook,
    "flapping": flapping,
    "service_down": service_down,
    "key_revoked": key_revoked,
    "dark_site": dark_site,
}


@dataclass(frozen=True)
class Fast:
    name: str
    speed: int

    def __call__(self, home: Path, _speed: float) -> Tale:
        told, notes, said = fast_clock.outcome_of([__file__, self.name], home, self.speed)
        return Tale([*map(told_again, told)], notes, said)


if __name__ == "__main__":
    fast_clock.give_outcome(STORIES[sys.argv[1]])
