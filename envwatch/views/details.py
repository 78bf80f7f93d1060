"""Everything about one environment, as labelled lines for the detail pane.

Pure: the moment and the style of instants are arguments. Lines that change every second (`ticking_lines`) are separate
from those that only a listing changes (`environment_lines`), so that a tick lays out five lines and not a whole pane.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.availability import availability, availability_text
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import UNTIMED, Presence, Reason, heartbeat_age
from envwatch.model import limits
from envwatch.model.environment import KNOWN_METADATA
from envwatch.model.modes import UNRESTRICTED, mode_meaning, mode_of
from envwatch.model.text import Clean, counted, shortened
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
    from envwatch.model.environment import Environment


@dataclass(frozen=True, slots=True)
class DetailLine:
    """A label and its text."""

    label: str
    text: Clean
    style: str = ""
    """A state's name in the stylesheet, for its colour."""
    depth: int = 0
    """Steps by which the label is indented: the line belongs to the last one before it with a smaller depth."""
    is_command: bool = False
    """Whether people copy it into a shell, so that no character of it may be replaced."""


def state_line(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> DetailLine:
    """Return the state of an environment in full words; the label is its glyph."""
    state = style_of(tracked, is_unknown=fleet.is_unknown(tracked, now))
    words = [tracked.presence.value]
    if fleet.is_unknown(tracked, now):
        words = ["unknown"] if tracked.verdict == UNTIMED else ["unknown", f"last seen {tracked.presence}"]
    if tracked.clock_suspect:
        words.append("clock?")
    if tracked.is_flapping:
        words.append("flapping")
    return DetailLine(state.glyph, Clean(" · ".join(words)), state.style)


def verdict_reason(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Clean:
    """Return the rule behind the verdict, with its inputs."""
    environment = tracked.environment
    if tracked.presence is Presence.GONE:
        return Clean(f"absent from {tracked.absent} complete listings in a row")
    if fleet.is_unreadable(tracked):
        return Clean("the newest listing holds its row, which cannot be read: this was the last verdict")
    if not environment.connection_id:
        return Clean("no connectionId: the listener closed its link")
    return Clean(f"{Reason.UNTIMED}: {IMPOSSIBLE}") if tracked.is_untimed else _reason_by_age(tracked, fleet, now)


def _reason_by_age(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Clean:
    age = _judged_age(tracked, fleet, now)
    if age is None:
        return Clean("connectionId set · no lastHeartbeat")
    if tracked.verdict.is_up and not fleet.stall_detector.beats_count:
        return Clean("connectionId set · the platform's heartbeats stand still: silence proves nothing")
    limit = fleet.limits.online_for
    is_lost = tracked.verdict.reason is Reason.HEARTBEAT_LOST
    moment = ""
    if fleet.listed is not None and (fleet.freshness(now) is not Freshness.LIVE or (not is_lost and age >= limit)):
        age = _judged_age(tracked, fleet, fleet.listed) or age
        moment = " at the last listing"
    beat = "clocks contradict · beat at least" if _is_skew_check_used(tracked, fleet) else "beat"
    # Seconds are cut, not rounded: 119.9 s is not yet 120.
    seconds, limit_seconds = int(age.total_seconds()), int(limit.total_seconds())
    return Clean(f"connectionId set · {beat} {seconds} s {'≥' if is_lost else '<'} {limit_seconds} s{moment}")


def _judged_age(tracked: TrackedEnvironment, fleet: Fleet, moment: Reading) -> timedelta | None:
    """Return the heartbeat's age that the verdict uses: by the server's clock, or by the skew check if they differ."""
    if _is_skew_check_used(tracked, fleet):
        return span(tracked.skew_check.least_age_ms(moment.monotonic))
    return heartbeat_age(tracked.environment, fleet.clock.at(moment.wall))


def _is_skew_check_used(tracked: TrackedEnvironment, fleet: Fleet) -> bool:
    return tracked.clock_suspect and fleet.date_error is None


def missed_beats(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> tuple[int, int] | None:
    """Return how many pings an environment can miss before it is offline, and how many it has missed.

    Returns:
        None if the verdict does not rest on pings (a closed connection), or silence proves nothing at the moment.
    """
    if fleet.listed is None or not _silence_counts(fleet, now) or tracked.verdict.reason not in _PING_REASONS:
        return None
    age = heartbeat_age(tracked.environment, fleet.clock.at(fleet.listed.wall))
    if age is None:
        return None
    limit = int(fleet.limits.online_for / limits.HEARTBEAT_EVERY)
    return limit, min(int(age / limits.HEARTBEAT_EVERY), limit)


def _silence_counts(fleet: Fleet, now: Reading) -> bool:
    """Whether a missing heartbeat means anything: listings arrive, and heartbeats of other rows advance."""
    return fleet.freshness(now) is Freshness.LIVE and fleet.stall_detector.beats_count


_PING_REASONS = frozenset({Reason.BEATING, Reason.MISSED, Reason.HEARTBEAT_LOST})


def ticking_lines(tracked: TrackedEnvironment, fleet: Fleet, now: Reading, style: TimeStyle) -> Iterator[DetailLine]:
    """Yield what changes with time alone: the rule with its age, the heartbeat, the countdown."""
    yield DetailLine("why", verdict_reason(tracked, fleet, now))
    server_now = fleet.clock.at(now.wall)
    beat_at = tracked.environment.last_heartbeat_at
    if beat_at is None:
        yield DetailLine("beat", Clean("none while offline" if not tracked.verdict.is_up else "none"))
    else:
        age = span(server_now - beat_at)
        text = f"{clock_text(beat_at, zone_of(style))} ({long_age(age)} ago)"
        if fleet.freshness(now) is not Freshness.LIVE:
            text += f" · no listing for {long_age(fleet.age(now))}"
        elif tracked.verdict.is_up and not tracked.clock_suspect and _silence_counts(fleet, now):
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
    """Yield when the problem was acknowledged, and the note."""
    if (ack := acks.get(tracked.environment.id)) is not None:
        yield DetailLine("acked", _when(ack.at, server_now, style))
        if ack.note:
            yield DetailLine("note", ack.note)


def availability_lines(
    tracked: TrackedEnvironment, fleet: Fleet, own_events: Sequence[Event], began_at: float | None
) -> Iterator[DetailLine]:
    """Yield the share of time that it was up.

    Args:
        tracked: the environment.
        fleet: its fleet.
        own_events: its events, oldest first, without groups.
        began_at: since when the events are complete, server's clock in ms; None before the first listing.
    """
    if began_at is None or fleet.listed is None:
        return
    share = availability(tracked, own_events, began_at, fleet.clock.at(fleet.listed.wall))
    if share is not None:
        yield DetailLine("available", availability_text(*share))


def remedy_lines(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Iterator[DetailLine]:
    """Yield what a person can do: the problem, the command to run on that machine, and what to know before."""
    for remedy in remedies(tracked, fleet, now):
        yield DetailLine("remedy", remedy.title, "plain")
        if remedy.command is not None:
            yield DetailLine("run there", remedy.command, "online", is_command=True)
        yield DetailLine("", remedy.note)


def environment_lines(tracked: TrackedEnvironment, fleet: Fleet) -> Iterator[DetailLine]:
    """Yield what changes only with a listing."""
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
        changes = counted(len(tracked.transitions), "change")
        yield DetailLine("churn", Clean(f"{changes} of connection in the last hour"))
    twins = [
        other.environment.name
        for other in fleet.environments.values()
        if other.environment.device_id == environment.device_id and other.environment.id != environment.id
    ]
    if twins:
        yield DetailLine("twins", Clean(", ".join(twins)))


def identity_lines(environment: Environment) -> Iterator[DetailLine]:
    """Yield the ids, the commands, and the fields that this version has no name for."""
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
    """Yield one line for each event of one environment, in the given order."""
    zone = zone_of(style)
    for event in events:
        yield DetailLine(clock_text(event.at, zone)[:8], event_text(event, zone))


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
    """Return a size in bytes for people (`32.0 GiB`); None if no machine has that much."""
    if not isinstance(size, (int, float)) or isinstance(size, bool) or not 0 < size < _MAX_MEMORY:
        return None
    import humanize  # noqa: PLC0415 - 10 ms that the first frame need not wait for

    return humanize.naturalsize(size, binary=True)


def _update(environment: Environment) -> Iterator[DetailLine]:
    update = environment.self_update
    if update is None:
        yield DetailLine("update", NOTHING)
        return
    reason = update.get("reason")
    because = f" · {reason}" if isinstance(reason, str) and reason else ""
    ability = "by itself" if update.get("writable") else "not writable"
    if not update.get("supported"):
        ability = "not by itself"
    yield DetailLine("update", Clean(f"{ability}{because}"))
    command, path = update.get("manual_command"), update.get("install_path")
    if isinstance(command, str) and command:
        yield DetailLine("by hand", Clean(command), is_command=True)
    if isinstance(path, str) and path:
        yield DetailLine("installed", Clean(path))


_KNOWN_MACHINE = frozenset({"osName", "osVersion", "cpu", "architecture", "memoryBytes"})
_KNOWN_UPDATE = frozenset({"supported", "writable", "reason", "manual_command", "install_path"})

_MAX_MEMORY: Final = 2**60
"""Bytes beyond which a memory size is taken for nonsense."""
_MAX_DEPTH: Final = 6
"""Levels of a nested value that are shown."""
_MAX_LINES: Final = 60
"""Lines for all fields without a name."""
_MAX_COUNT: Final = 1_000
"""Omitted lines are counted up to here."""
_MAX_CELLS: Final = 300
"""The width of one value."""


def _unknown(environment: Environment) -> Iterator[DetailLine]:
    """Yield the fields that this version of envwatch has no name for, up to a limit."""
    lines = chain.from_iterable(_tree_lines(key, value, 0) for key, value in _unknown_fields(environment))
    yield from islice(lines, _MAX_LINES)
    omitted = sum(1 for _ in islice(lines, _MAX_COUNT))
    if omitted:
        yield DetailLine("…", Clean(f"{omitted} more" if omitted < _MAX_COUNT else f"{_MAX_COUNT} and more"))


def _unknown_fields(environment: Environment) -> Iterator[tuple[str, JsonValue]]:
    for key, value in (environment.metadata or {}).items():
        expected_type = KNOWN_METADATA.get(key)
        if expected_type is None or not (value is None or isinstance(value, expected_type)):
            yield key, value
    for name, values, named in (
        ("machine", environment.machine, _KNOWN_MACHINE),
        ("self_update", environment.self_update, _KNOWN_UPDATE),
    ):
        yield from ((f"{name}.{key}", value) for key, value in (values or {}).items() if key not in named)
    yield from environment.unknown.items()


def _tree_lines(label: str, value: JsonValue, depth: int) -> Iterator[DetailLine]:
    """Yield a value as lines: one of its own, and one for each member, a step deeper."""
    if not value or not isinstance(value, (dict, list)):
        yield DetailLine(label, shortened(json_text(value), _MAX_CELLS), depth=depth)
    elif depth + 1 == _MAX_DEPTH:
        yield DetailLine(label, Clean("{…}" if isinstance(value, dict) else "[…]"), depth=depth)
    else:
        yield DetailLine(label, Clean(""), depth=depth)
        members = value.items() if isinstance(value, dict) else (("-", item) for item in value)
        for key, member in members:
            yield from _tree_lines(key, member, depth + 1)


class Copy(NamedTuple):
    """A text that can be copied to the clipboard."""

    label: str
    text: Clean

    @property
    def gist(self) -> Clean:
        """The text if it is one line, else the number of its lines."""
        lines = self.text.count("\n") + 1
        return self.text if lines == 1 else Clean(f"{lines} lines")


def copies(environment: Environment) -> list[Copy]:
    """Return the parts of an environment that are worth copying. The whole of it is JSON, see `output`."""
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


def _when(at: float, now: float, style: TimeStyle) -> Clean:
    """Return an instant as a date and as an age, the preferred one first."""
    date, ago = date_text(at, zone_of(style)), f"{long_age(span(now - at))} ago"
    return Clean(f"{ago} · {date}" if style is TimeStyle.RELATIVE else f"{date} · {ago}")
