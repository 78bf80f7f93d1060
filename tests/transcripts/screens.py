"""Stories of the screen transcripts: what happens to a scripted fleet at 03:00, and what a sleepy person presses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from unicodedata import name as unicode_name

from rich.cells import cell_len
from support.app_harness import Stage, running
from support.builders import NOW, failed
from support.fake_clock import Script, World, walk
from support.hostile_fleet import TITLE
from support.night import ZONE, Night
from support.rewinding import is_travelling, settle, until
from textual.command import CommandPalette

from envwatch import __version__
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import Poller
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import SafeText, clean
from envwatch.model.times import clock_text, use_zone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from textual.worker import Worker

    from envwatch.letta.poller import PollSchedule
    from envwatch.model.outcome import Listed, Outcome

INTERVAL_S: Final = 5
WEB: Final = tuple(f"web-{number}" for number in range(1, 13))
BUILDS: Final = tuple(f"build-{number}" for number in range(1, 5))
LAPTOPS: Final = ("ana-macbook", "ben-macbook", "chen-imac", "divya-mini")
LATE: Final = "hiro-home-server"
HOSTILE: Final = f"{TITLE}[red]eve[/]"
WIDE: Final = "東京-gpu 👩\u200d💻"

POLICY: Final = AlertPolicy(expect=(clean("db-1"), clean("db-2")), zone=ZONE)

FAILURES: Final = {
    Cause.UNREACHABLE: "api.example cannot be reached: Connection refused",
    Cause.TIMEOUT: "api.example did not answer within 10 s. Is the network up here?",
    Cause.UNAUTHORIZED: "api.example answered 401: Unauthorized. Is the key from a test right, and still valid?",
}

_THREE: Final = Night("2026-11-25 03:00").at
_LAST_BEAT_AT: Final = _THREE - 50_000
"""The late row's newest heartbeat until `_BEATS_AGAIN_AT`, in milliseconds."""
_BEATS_AGAIN_AT: Final = _THREE + 40_000

_SERVER: Final[dict[str, Any]] = {"lettaCodeVersion": "0.34.12", "os": "linux", "gitBranch": "main"}
_LAPTOP: Final[dict[str, Any]] = {**_SERVER, "os": "darwin", "gitBranch": "feat/login"}

_SPECIAL_KEYS: Final = frozenset({"enter", "escape", "space", "tab", "up", "down"})
_KEY_NAMES: Final = {"solidus": "slash", "hyphen_minus": "minus"}


@cache
def _earlier_run() -> Night:
    """Return the hour before 03:00, which an earlier run of envwatch recorded."""
    night = Night("2026-11-25 02:00", policies={NO_PROFILE: POLICY})
    night.add(*WEB, podId="p-7", metadata=_SERVER).add(*BUILDS, podId="p-3", metadata=_SERVER)
    night.add("db-1", "edge-9", "gpu-1", "queue-1", podId="p-5", metadata=_SERVER)
    night.add("eve", connectionName=HOSTILE, podId="p-5", metadata=_SERVER)
    night.add("tokyo", connectionName=WIDE, podId="p-5", metadata={**_SERVER, "gitBranch": "修正/ログイン"})
    night.add(*LAPTOPS, podId=None, metadata=_LAPTOP).add(LATE, podId=None, metadata=_SERVER)
    night.add("job-4f2a", "job-77c1", podId=None, deviceId="sandbox-agent", metadata=_SERVER)
    night.add("old-jenkins", "old-nas", down_h=80, podId="p-3", metadata=_SERVER)
    night.change("chen-imac", version="0.33.7").until("02:15").change("gpu-1", currentMode="unrestricted")
    night.until("02:20").lose("divya-mini").until("02:30").lose("job-77c1")
    night.until("02:35").change("queue-1", version="0.34.13").until("02:48").lose("build-3", "build-4")
    while night.at < _THREE:
        night.lose("edge-9").poll(2).restore("edge-9").poll(2)
    night.stop_for(0)
    return night


class _PlannedPoller(Poller):
    """A poller that never polls, whose next try is planned by the test."""

    next_at: float | None = None
    """Monotonic second; None while no poll has failed."""

    @property
    def schedule(self) -> PollSchedule:
        return super().schedule._replace(is_polling=False, next_at=self.next_at)


@dataclass(eq=False)
class Watch:
    stage: Stage
    night: Night
    planned: _PlannedPoller
    readable: asyncio.Queue[SafeText]
    frames: list[str] = field(default_factory=list)

    def see(self, cause: str) -> None:
        """Keep the present frame below the time and the frame's cause."""
        columns, rows = self.stage.app.size
        lines = self.stage.lines
        assert {*map(cell_len, lines)} == {columns}
        assert len(lines) == rows
        edge, time = "═" * columns, clock_text(self.stage.at, ZONE).partition("+")[0]
        drawn = (line.replace(__version__, "VERSION").rstrip() for line in lines)
        self.frames.append("\n".join((f"{time}  {cause}", edge, *drawn, edge, "")))

    async def press(self, *keys: str, to: str = "") -> None:
        """Press keys, or type texts, one after the other, and keep the frame after the last key."""
        for key in keys:
            await self.stage.press(*_names(key))
            await self._settle()
        self.see(": ".join(filter(None, (" ".join(keys), to))))

    async def _settle(self) -> None:
        """Wait until no moment is read and no command is searched."""
        if is_travelling(self.stage):
            await settle(self.stage)
        palette = self.stage.app.screen
        if isinstance(palette, CommandPalette):
            await until(self.stage, lambda: all(worker.is_finished for worker in _searches(palette)))

    async def read_past(self) -> None:
        """Let the app read the recording of the earlier run."""
        began_at = self.stage.app.state.monitor.watched[NO_PROFILE].began_at
        self.readable.put_nowait(NO_PROFILE)
        await until(self.stage, lambda: self.stage.app.state.monitor.watched[NO_PROFILE].began_at != began_at)

    async def poll(self, event: str = "", after: float = INTERVAL_S) -> None:
        """Show the next listing; keep the frame if the listing shows an event."""
        await self._take(self.listing(after), event)

    def listing(self, after: float = INTERVAL_S) -> Listed:
        """Return the result of the next poll."""
        self.stage.now += after
        at = self.night.at = round(self.stage.at)
        beat_at = at - 10_000 if at >= _BEATS_AGAIN_AT else _LAST_BEAT_AT
        self.night.change(LATE, lastHeartbeat=beat_at, lastSeenAt=beat_at)
        self.planned.next_at = None
        return self.night.listing()._replace(interval=timedelta(seconds=INTERVAL_S))

    async def fail(self, cause: Cause, event: str = "", after: float = INTERVAL_S) -> None:
        """Let the next poll fail; keep the frame if the failure is an event."""
        self.stage.now += after
        pages = 1 if cause is Cause.TIMEOUT else 0
        self.planned.next_at = self.stage.clocks().monotonic + 2 * INTERVAL_S
        failure = failed(cause, self.stage.at, pages_read=pages)
        await self._take(replace(failure, message=clean(FAILURES[cause])), event)

    async def _take(self, outcome: Outcome, event: str) -> None:
        await self.stage.take(outcome)
        if event:
            self.see(event)


def _searches(palette: CommandPalette) -> list[Worker[object]]:
    return [worker for worker in palette.workers if worker.node is palette]


def _names(key: str) -> list[str]:
    """Return Textual's names of a special key, or of the keys of a text's characters."""
    return [key] if key in _SPECIAL_KEYS or key.startswith("ctrl+") else [*map(_name, key)]


def _name(character: str) -> str:
    if character.isalnum():
        return character
    name = unicode_name(character).lower().replace(" ", "_").replace("-", "_")
    return _KEY_NAMES.get(name, name)


@asynccontextmanager
async def watching(size: tuple[int, int], *, is_listed: bool) -> AsyncIterator[Watch]:
    """Start a dashboard at 03:00: before the first poll, or with a listing and the recording of the earlier run."""
    night, planned = _earlier_run().branch(), _PlannedPoller(Script(World(), walk()), Limits())
    readable = asyncio.Queue[SafeText]()
    use_zone(ZONE)
    stage = Stage(
        now=(night.at - NOW) / 1000,
        poller=planned,
        record=night.history.record,
        pasts={NO_PROFILE: night.history},
        readable=readable,
        policies={NO_PROFILE: POLICY},
        user=clean("ana"),
    )
    watch = Watch(stage, night, planned, readable)
    try:
        if is_listed:
            await stage.app.take(stage.watch.take(NO_PROFILE, watch.listing()))
        async with running(stage, size):
            if is_listed:
                await watch.read_past()
            yield watch
    finally:
        use_zone(None)


# Stories.

Story: TypeAlias = "Callable[[Watch], Awaitable[None]]"
Size: TypeAlias = "tuple[int, int]"

SCREENS: Final = Path(__file__).parent / "screen"
SIZES: Final = ((80, 24), (120, 36))


async def first_frames(watch: Watch) -> None:
    watch.see("envwatch starts")
    await watch.fail(Cause.UNREACHABLE, "the first poll fails")
    await watch.poll("the first listing")
    await watch.read_past()
    watch.see("the recording of the earlier run")
    await watch.press("G", "x", to="open the old losses")


async def pod_down(watch: Watch) -> None:
    watch.night.lose(*WEB)
    await watch.poll("pod p-7 goes down")
    await watch.press("n", "enter", to="the newest loss: its members and the remedy")
    await watch.press("escape", "E", to="explain the first member")
    await watch.press("E", "enter", to="the member's detail")
    watch.night.restore("web-2")
    await watch.poll("web-2 is back")
    await watch.press("escape", "k", "x", to="fold the members again")


async def acknowledge(watch: Watch) -> None:
    watch.night.lose(*WEB)
    await watch.poll()
    await watch.press("n", "a", "disk swap, back at 04:00", to="type a note")
    await watch.press("enter")
    watch.night.restore(*WEB[:8])
    await watch.poll("eight of twelve are back")
    await watch.press("j", "j", "j", "a", ", or 05:00", to="change the note")
    await watch.press("enter")
    watch.night.restore(*WEB[8:])
    await watch.poll("the pod is back")
    for _ in range(4):
        await watch.poll(after=14)
    await watch.poll("a minute later")


async def silence(watch: Watch) -> None:
    await watch.press("n", "n", "n", "M", to="silence an incident")
    await watch.press("down", "enter", "new disks", to="for an hour")
    await watch.press("enter")
    await watch.press("/", "status:offline", "enter", to="the silenced rows in the table")
    await watch.press("enter", to="the detail of a silenced row")
    await watch.press("escape", "M", to="end the silence")
    await watch.press("e", "enter")


async def filter_rows(watch: Watch) -> None:
    await watch.press("/", to="examples")
    await watch.press("mod:unres", "enter", to="a wrong field")
    await watch.press("ctrl+u", "mode:unres", to="the right field")
    await watch.press("tab", "enter", to="complete the value, and keep the filter")
    await watch.press("/", " zzz", "enter", "enter", to="nothing matches, and nothing to open")
    await watch.press("escape", to="clear the filter")
    await watch.press("/", "web", to="type another filter")
    await watch.press("escape", "2", "/", "job", "enter", to="cancel; of what is off or late, the jobs")


async def arrange(watch: Watch) -> None:
    await watch.press("o", to="sort by …")
    await watch.press("n", "enter", "o", "o", to="by name, inverted")
    await watch.press("b", to="group by …")
    await watch.press("p", "enter", "j", "j", "j", "x", to="by pod; fold a group")
    await watch.press("x", to="all groups alike")
    await watch.press("C", to="columns …")
    await watch.press("j", "space", "enter", "4", to="without VERSION; what changed")
    await watch.press("0", to="reset")
    await watch.press("v", to="open or close the pane")


async def event_log(watch: Watch) -> None:
    watch.night.lose(*WEB)
    await watch.poll()
    await watch.press("e", to="the event log")
    await watch.press("enter", to="open the group")
    await watch.press("/", "build", to="filter")
    await watch.press("enter", "y", to="copy from the event's row")
    await watch.press("escape", "a", to="acknowledge the event's row")
    await watch.press("escape", "enter", to="go to the event's row")
    await watch.press("e", "/", "zzz", "enter", to="no event matches")


async def past(watch: Watch) -> None:
    await watch.poll()
    await watch.press("{", to="the event before")
    await watch.press("[", to="one poll back")
    await watch.press("a", to="acknowledge in the past")
    await watch.press("T", "yesterdy", "enter", to="a wrong time")
    await watch.press("ctrl+u", "02:49", "enter", to="a right time")
    await watch.press("enter", to="the detail at that time")
    watch.night.lose(*WEB)
    await watch.poll("pod p-7 goes down now")
    await watch.press("escape", "L", to="live again")


async def alerts_and_marks(watch: Watch) -> None:
    await watch.press("n", "n", "A", to="does a loss of this row need a person?")
    await watch.press("n", "enter", to="never")
    await watch.press("/", "edge", "enter", "A", to="the decision in force")
    await watch.press("b", "enter", to="by rule")
    await watch.press("escape", "G", *("k", "space", "k") * 3, "A", to="for three marked rows")
    await watch.press("a", "enter", to="always")
    await watch.press("G", *("k", "space", "k") * 2, "y", to="copy from two marked rows")
    await watch.press("n", to="the names")
    await watch.press("y", "down", "down", "space", to="show the sentence as plain text")
    await watch.press("escape", "y", "s", to="a sentence for a chat")


async def trouble(watch: Watch) -> None:
    await watch.press("?", to="help")
    await watch.press("ctrl+d", to="the next page")
    await watch.press("escape", ":", to="the palette")
    await watch.press("sil")
    await watch.press("escape", "s", to="a key of another program")
    await watch.fail(Cause.TIMEOUT, "a poll fails")
    await watch.fail(Cause.TIMEOUT, "stale", after=15)
    await watch.press("E", to="explain a stale state")
    await watch.fail(Cause.TIMEOUT, "BLIND", after=45)
    await watch.fail(Cause.UNAUTHORIZED)
    await watch.press("escape", to="the key is refused")
    await watch.press("e", to="the log of the failures")
    await watch.poll("the key is accepted")


STORIES: Final[dict[str, Story]] = {
    story.__name__: story
    for story in (
        first_frames,
        pod_down,
        acknowledge,
        silence,
        filter_rows,
        arrange,
        event_log,
        past,
        alerts_and_marks,
        trouble,
    )
}


async def told(story: str, size: Size) -> str:
    """Return the frames of a story."""
    async with watching(size, is_listed=STORIES[story] is not first_frames) as watch:
        await STORIES[story](watch)
    return "\n".join(watch.frames)


def file_of(story: str, size: Size) -> Path:
    columns, rows = size
    return SCREENS / f"{story}-{columns}x{rows}.txt"
