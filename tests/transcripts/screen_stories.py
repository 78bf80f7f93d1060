"""The stories of the screen transcripts: what happens to the fleet, and what a sleepy person presses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from transcripts.screen_night import WEB, Watch, watching

from envwatch.model.outcome import Cause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Story: TypeAlias = "Callable[[Watch], Awaitable[None]]"
Size: TypeAlias = "tuple[int, int]"

FOLDER: Final = Path(__file__).parent / "screen"
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
    await watch.press("enter")


async def filter_rows(watch: Watch) -> None:
    await watch.press("/", to="examples")
    await watch.press("mod:unres", "enter", to="a wrong field")
    await watch.press("ctrl+u", "mode:unres", to="the right field")
    await watch.press("tab", "enter", to="complete the value, and keep the filter")
    await watch.press("/", " zzz", "enter", "enter", to="nothing matches, and nothing to open")
    await watch.press("escape", to="clear the filter")
    await watch.press("/", "web", to="type another filter")
    await watch.press("escape", "4", "/", "job", "enter", to="cancel; of the rows that are down, the jobs")


async def arrange(watch: Watch) -> None:
    await watch.press("o", to="sort by …")
    await watch.press("n", "enter", "o", "o", to="by name, inverted")
    await watch.press("b", to="group by …")
    await watch.press("p", "enter", "j", "j", "j", "x", to="by pod; fold a group")
    await watch.press("x", to="all groups alike")
    await watch.press("C", to="columns …")
    await watch.press("j", "space", "enter", "2", to="without VERSION; the rows that are up")
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
    await watch.press("[", to="one listing back")
    await watch.press("{", to="the event before")
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
    await watch.fail(Cause.TIMEOUT, "STALE", after=15)
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
    return FOLDER / f"{story}-{columns}x{rows}.txt"
