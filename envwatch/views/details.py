"""All that is known of one environment, as labelled lines for the detail pane.

Pure: the moment and the way to show instants are arguments. What changes each second (`stall_lines`) is apart from
what changes with a listing (`environment_lines`), so that a tick need not lay out a whole pane.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import humanize

from envwatch.fleet.availability import availability, availability_text
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import UNTIMED, Presence, Reason, heartbeat_age
from envwatch.model import limits
from envwatch.model.environment import KNOWN_METADATA
from envwatch.model.modes import UNRESTRICTED, mode_meaning, mode_of
from envwatch.model.text import Clean, shortened
from envwatch.model.times import NOTHING, TimeStyle, clock_text, date_text, long_age, span, zone_of
from envwatch.model.versions import is_behind
from envwatch.views.event_text import event_text
from envwatch.views.remedies import remedies, start_command
from envwatch.views.state_style import IMPOSSIBLE, json_text, style_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import timedelta

    from pydantic import JsonValue

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.events import Event
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.model.environment import Environment, JsonObject


@dataclass(frozen=True, slots=True)
class DetailLine:
    """One line: a label, what is known, and the style in which it stands."""

    label: str
    text: Clean
    style: str = ""
    depth: int = 0
    """How many steps its label is indented: below which fact of less depth it belongs."""
    is_command: bool = False
    """Whether people type it as it stands there, so that it must stand there as it is."""


def heading(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> DetailLine:
    """Return the state of an environment in full words."""
    face = style_of(tracked, is_unknown=fleet.is_unknown(tracked, now))
    words = [tracked.presence.value]
    if fleet.is_unknown(tracked, now):
        words = ["unknown"] if tracked.verdict == UNTIMED else ["unknown", f"last seen {tracked.presence}"]
    if tracked.clock_suspect:
        words.append("clock?")
    if tracked.is_flapping:
        words.append("flapping")
    return DetailLine(face.glyph, Clean(" · ".join(words)), face.style)


def why(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Clean:
    """Return the rule that made the verdict, with its inputs."""
    environment = tracked.environment
    if tracked.presence is Presence.GONE:
        return Clean(f"absent from {tracked.absent} complete listings in a row")
    if fleet.is_unreadable(tracked):
        return Clean("the newest listing holds its row, which cannot be read: this was the last verdict")
    if not environment.connection_id:
        return Clean("no connectionId: the listener closed its link")
    return Clean(f"{Reason.UNTIMED}: {IMPOSSIBLE}") if tracked.is_untimed else _why_by_age(tracked, fleet, now)


def _why_by_age(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Clean:
    age = _silence(tracked, fleet, now)
    if age is None:
        return Clean("connectionId set · no lastHeartbeat")
    if tracked.verdict.is_up and not fleet.stall_detector.beats_count:
        return Clean("connectionId set · the platform's heartbeats stand still: silence proves nothing")
    limit = fleet.limits.online_for
    is_lost = tracked.verdict.reason is Reason.HEARTBEAT_LOST
    when = ""
    if fleet.listed is not None and (fleet.freshness(now) is not Freshness.LIVE or (not is_lost and age >= limit)):
        age = _silence(tracked, fleet, fleet.listed) or age
        when = " at the last listing"
    beat = "clocks contradict · beat at least" if _is_judged_by_witness(tracked, fleet) else "beat"
    return Clean(f"connectionId set · {beat} {_whole(age)} s {'≥' if is_lost else '<'} {_whole(limit)} s{when}")


def _silence(tracked: TrackedEnvironment, fleet: Fleet, moment: Reading) -> timedelta | None:
    """Return the age of a heartbeat by what it is judged by: the server's clock, or its witness where they differ."""
    if _is_judged_by_witness(tracked, fleet):
        return span(tracked.skew_check.least_age_ms(moment.monotonic))
    return heartbeat_age(tracked.environment, fleet.clock.at(moment.wall))


def _is_judged_by_witness(tracked: TrackedEnvironment, fleet: Fleet) -> bool:
    return tracked.clock_suspect and fleet.date_error is None


def _whole(age: timedelta) -> int:
    """Return whole seconds, cut: 119.9 s is not yet 120."""
    return int(age.total_seconds())


def missed_beats(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> tuple[int, int] | None:
    """Return how many pings fit into the time in which a row stays online, and how many of those it was seen to miss.

    Returns:
        None where the verdict is not about pings, for who closed its link missed none, or silence proves nothing now.
    """
    if fleet.listed is None or not _is_silence_heard(fleet, now) or tracked.verdict.reason not in _ABOUT_BEATS:
        return None
    age = heartbeat_age(tracked.environment, fleet.clock.at(fleet.listed.wall))
    if age is None:
        return None
    limit = int(fleet.limits.online_for / limits.HEARTBEAT_EVERY)
    return limit, min(int(age / limits.HEARTBEAT_EVERY), limit)


def _is_silence_heard(fleet: Fleet, now: Reading) -> bool:
    """Whether a row that is silent shows that it is: listings come, and the platform's heartbeats do."""
    return fleet.freshness(now) is Freshness.LIVE and fleet.stall_detector.beats_count


_ABOUT_BEATS = frozenset({Reason.BEATING, Reason.MISSED, Reason.HEARTBEAT_LOST})


def stall_lines(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, style: TimeStyle) -> Iterator[DetailLine]:
    """Yield what the time alone changes: the rule with its age, the heartbeat, the countdown."""
    yield DetailLine("why", why(tracked, fleet, now))
    server_now = fleet.clock.at(now.wall)
    beat_at = tracked.environment.last_heartbeat_at
    if beat_at is None:
        yield DetailLine("beat", Clean("none while offline" if not tracked.verdict.is_up else "none"))
    else:
        age = span(server_now - beat_at)
        text = f"{_clock(beat_at, style)} ({long_age(age)} ago)"
        if fleet.freshness(now) is not Freshness.LIVE:
            text += f" · no listing for {long_age(fleet.age(now))}"
        elif tracked.verdict.is_up and not tracked.clock_suspect and _is_silence_heard(fleet, now):
            left = (fleet.limits.online_for - age).total_seconds()
            text += f" · offline in {left:.0f} s" if left > 0 else " · offline at the next listing"
        yield DetailLine("beat", Clean(text))
    environment = tracked.environment
    if environment.connected_at is not None and tracked.verdict.is_up:
        yield DetailLine("connected", _when(environment.connected_at, server_now, style))
    elif tracked.since_at is not None:
        yield DetailLine(tracked.presence.value, _when(tracked.since_at, server_now, style))
    yield DetailLine("last seen", _when(environment.last_seen_at, server_now, style))
    yield DetailLine("first seen", _when(environment.first_seen_at, server_now, style))


def acknowledgement_lines(
    tracked: TrackedEnvironment, acks: Acks, server_now: float, style: TimeStyle
) -> Iterator[DetailLine]:
    """Yield since when a person knows of the problem, and the note."""
    if (ack := acks.get(tracked.environment.id)) is not None:
        yield DetailLine("acked", _when(ack.at, server_now, style))
        if ack.note:
            yield DetailLine("note", ack.note)


def availability_lines(
    tracked: TrackedEnvironment, fleet: Fleet, own_events: Sequence[Event], began_at: float | None
) -> Iterator[DetailLine]:
    """Yield how much of the time it was up.

    Args:
        tracked: the environment.
        fleet: the one that it is listed in.
        own_events: its events, oldest first, without groups.
        began_at: since when they tell all, by the server's clock in ms; None before the first listing.
    """
    if began_at is None or fleet.listed is None:
        return
    known = availability(tracked, own_events, began_at, fleet.clock.at(fleet.listed.wall))
    if known is not None:
        yield DetailLine("available", availability_text(*known))


def remedy_lines(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Iterator[DetailLine]:
    """Yield what a person can do: what is the matter, the command to run there, what to know before."""
    for remedy in remedies(tracked, fleet, now):
        yield DetailLine("remedy", remedy.title, "plain")
        if remedy.command is not None:
            yield DetailLine("run there", remedy.command, "online", is_command=True)
        yield DetailLine("", remedy.note)


def environment_lines(tracked: TrackedEnvironment, fleet: Fleet) -> Iterator[DetailLine]:
    """Yield what only a listing changes."""
    environment = tracked.environment
    if tracked.profile:
        yield DetailLine("profile", tracked.profile)
    mode = mode_of(environment.mode)
    sent_as = f" (sent as {environment.mode})" if mode != environment.mode else ""
    yield DetailLine(
        "mode",
        Clean(f"{mode or NOTHING} · {mode_meaning(environment.mode)}{sent_as}"),
        "unrestricted" if mode == UNRESTRICTED else "",
    )
    yield DetailLine("version", _version(environment, fleet))
    yield DetailLine("branch", environment.branch or NOTHING)
    yield DetailLine("directory", environment.working_directory or NOTHING)
    yield DetailLine("host", _host(environment))
    yield from _update(environment)
    if tracked.transitions:
        count = len(tracked.transitions)
        yield DetailLine(
            "churn", Clean(f"{count} {'change' if count == 1 else 'changes'} of connection in the last hour")
        )
    twins = [
        other.environment.name
        for other in fleet.environments.values()
        if other.environment.device_id == environment.device_id and other.environment.id != environment.id
    ]
    if twins:
        yield DetailLine("twins", Clean(", ".join(twins)))


def identity_lines(environment: Environment) -> Iterator[DetailLine]:
    """Yield who it is to the platform, what it can do, and what nobody told us of."""
    yield DetailLine("id", environment.id)
    yield DetailLine("device", environment.device_id)
    yield DetailLine("connection", environment.connection_id or NOTHING)
    yield DetailLine("listener", environment.listener_instance_id or NOTHING)
    yield DetailLine("pod", environment.pod_id or NOTHING)
    yield DetailLine("user", environment.user_id or NOTHING)
    yield DetailLine("key owner", environment.api_key_owner or NOTHING)
    yield DetailLine("org", environment.organization_id)
    yield DetailLine("commands", Clean(", ".join(filter(None, environment.supported_commands or ()))) or NOTHING)
    yield from _unknown(environment)


def event_lines(events: Iterable[Event], style: TimeStyle) -> Iterator[DetailLine]:
    """Yield one line for each event of this environment, newest first."""
    for event in events:
        yield DetailLine(_clock(event.at, style)[:8], event_text(event, zone_of(style)))


def _version(environment: Environment, fleet: Fleet) -> Clean:
    version = environment.version
    if version is None:
        return NOTHING
    newest = fleet.newest
    if is_behind(version, newest):
        return Clean(f"{version} · behind {newest}")
    return Clean(f"{version} · newest here") if version == newest else version


def _host(environment: Environment) -> Clean:
    machine = environment.machine or {}
    system = [value for key in ("osName", "osVersion") if isinstance(value := machine.get(key), str)]
    words = [
        environment.os,
        " ".join(system),
        machine.get("cpu"),
        machine.get("architecture"),
        _memory(machine.get("memoryBytes")),
        f"node {environment.node_version}" if environment.node_version else None,
    ]
    return Clean(" · ".join(word for word in words if isinstance(word, str) and word)) or NOTHING


def _memory(size: JsonValue) -> str | None:
    """Return a size in bytes as people say it, if any machine could have it."""
    if not isinstance(size, (int, float)) or isinstance(size, bool) or not 0 < size < _MOST_MEMORY:
        return None
    return humanize.naturalsize(size, binary=True)


_MOST_MEMORY = 2**60


def _update(environment: Environment) -> Iterator[DetailLine]:
    update = environment.self_update
    if update is None:
        yield DetailLine("update", NOTHING)
        return
    reason = update.get("reason")
    because = f" · {reason}" if isinstance(reason, str) and reason else ""
    if not update.get("supported"):
        yield DetailLine("update", Clean(f"not by itself{because}"))
    elif not update.get("writable"):
        yield DetailLine("update", Clean(f"not writable{because}"))
    else:
        yield DetailLine("update", Clean(f"by itself{because}"))
    command, path = update.get("manual_command"), update.get("install_path")
    if isinstance(command, str) and command:
        yield DetailLine("by hand", Clean(command), is_command=True)
    if isinstance(path, str) and path:
        yield DetailLine("installed", Clean(path))


_KNOWN_MACHINE = frozenset({"osName", "osVersion", "cpu", "architecture", "memoryBytes"})
_KNOWN_UPDATE = frozenset({"supported", "writable", "reason", "manual_command", "install_path"})

_DEEPEST: Final = 6
"""Levels of a value that are shown."""
_MOST: Final = 60
"""Lines for all that has no name."""
_COUNTED: Final = 1_000
"""Lines left out that are counted one by one."""
_LONGEST: Final = 300
"""Cells of one text among them."""


def _unknown(environment: Environment) -> Iterator[DetailLine]:
    """Yield what this version of envwatch has no name for, as far as a person reads it."""
    lines = chain.from_iterable(_branch(key, value, 0) for key, value in _nameless(environment))
    yield from islice(lines, _MOST)
    left = sum(1 for _ in islice(lines, _COUNTED))
    if left:
        yield DetailLine("…", Clean(f"{left} more" if left < _COUNTED else f"{_COUNTED} and more"))


def _nameless(environment: Environment) -> Iterator[tuple[str, JsonValue]]:
    for key, value in (environment.metadata or {}).items():
        known = KNOWN_METADATA.get(key)
        if known is None or not (value is None or isinstance(value, known)):
            yield key, value
    yield from _leftovers("machine", environment.machine, _KNOWN_MACHINE)
    yield from _leftovers("self_update", environment.self_update, _KNOWN_UPDATE)
    yield from environment.unknown.items()


def _leftovers(name: str, values: JsonObject | None, known: frozenset[str]) -> Iterator[tuple[str, JsonValue]]:
    for key, value in (values or {}).items():
        if key not in known:
            yield f"{name}.{key}", value


def _branch(label: str, value: JsonValue, depth: int) -> Iterator[DetailLine]:
    """Yield a value as lines: one of its own, and one for each thing within it, a step deeper."""
    if not value or not isinstance(value, (dict, list)):
        yield DetailLine(label, shortened(json_text(value), _LONGEST), depth=depth)
    elif depth + 1 == _DEEPEST:
        yield DetailLine(label, Clean("{…}" if isinstance(value, dict) else "[…]"), depth=depth)
    else:
        yield DetailLine(label, Clean(""), depth=depth)
        members = value.items() if isinstance(value, dict) else (("-", item) for item in value)
        for key, member in members:
            yield from _branch(key, member, depth + 1)


class Copy(NamedTuple):
    """A text that is worth copying."""

    label: str
    text: Clean

    @property
    def gist(self) -> Clean:
        """What stands for the text on one line: itself, or how many lines it has."""
        lines = self.text.count("\n") + 1
        return self.text if lines == 1 else Clean(f"{lines} lines")


def copies(environment: Environment) -> list[Copy]:
    """Return what of an environment can be pasted elsewhere, but for all of it at once, which is `report`'s."""
    update = environment.self_update or {}
    command = update.get("manual_command")
    texts = {
        "name": environment.name,
        "device id": environment.device_id,
        "connection id": environment.connection_id,
        "environment id": environment.id,
        "update command": command if isinstance(command, str) else None,
        "letta command line": start_command(environment),
        "directory": environment.working_directory,
    }
    return [Copy(label, Clean(text)) for label, text in texts.items() if text]


def _clock(at: float, style: TimeStyle) -> Clean:
    return clock_text(at, zone_of(style))


def _when(at: float, now: float, style: TimeStyle) -> Clean:
    """Return an instant as the user wants it first, and the other way behind it."""
    date, ago = date_text(at, zone_of(style)), f"{long_age(span(now - at))} ago"
    return Clean(f"{ago} · {date}" if style is TimeStyle.RELATIVE else f"{date} · {ago}")
