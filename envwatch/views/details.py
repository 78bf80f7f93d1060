"""What one environment is, what helps it and what happened to it, as labelled lines for the detail pane.

Pure: the moment and the style of instants are arguments. The head of the pane is in `state_details`; here is what only
a listing changes.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.presence import NEVER_LISTED
from envwatch.model.environment import KNOWN_METADATA
from envwatch.model.modes import UNRESTRICTED, mode_meaning, mode_of
from envwatch.model.shared_marks import SHARED_FIELD
from envwatch.model.text import SafeText, counted, shortened
from envwatch.model.times import NOTHING, TimeStyle, clock_text, short_age, span, state_age, zone_of
from envwatch.model.versions import is_behind
from envwatch.views.event_text import event_style, event_text
from envwatch.views.pane_layout import DetailLine, Fit
from envwatch.views.remedies import remedies, start_command
from envwatch.views.state_details import instant_text
from envwatch.views.state_style import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from pydantic import JsonValue

    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment


_NO_KEY: Final = SafeText("")

EVENTS: Final = 5
"""Events of an environment that the pane has at least, if there are so many."""


def help_lines(
    tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks, start_key: SafeText = _NO_KEY
) -> Iterator[DetailLine]:
    """Yield what a person can do: the command to run on that machine, with its letter, and what to know before.

    `start_key` is the key that starts the listener of an environment that is down; empty if none does.
    """
    for remedy in remedies(tracked, profile_state, now, start_key):
        label, notes = remedy.label, remedy.notes
        if remedy.command is not None:
            yield DetailLine(
                label, remedy.command, "online", fit=_shell(tracked.environment), letter=COPY_LETTERS[remedy.copy]
            )
            label = ""
        for note in notes:
            yield DetailLine(label, note)
            label = ""


def _shell(environment: Environment) -> Fit:
    return Fit.WINDOWS_COMMAND if environment.os == "win32" else Fit.COMMAND


def event_line(event: Event, now: float, zone: tzinfo | None, *, is_ascii: bool, is_named: bool = False) -> DetailLine:
    """Return an event of one environment, labelled with its time, or with its age if it is a day old.

    `now` is by the server's clock in ms. With `is_named` the environment's name stands before what happened.
    """
    look, age = event_style(event), span(now - event.at)
    label = f"{short_age(age)} ago" if age >= timedelta(days=1) else clock_text(event.at, zone)[:8]
    name = f"{event.name} " if is_named and event.name else ""
    return DetailLine(
        label, SafeText(f"{look.ascii if is_ascii else look.glyph} {name}{event_text(event, zone)}"), look.style
    )


def about_lines(
    tracked: TrackedEnvironment, profile_state: ProfileState, uptime: SafeText | None, style: TimeStyle
) -> Iterator[DetailLine]:
    """Yield what an environment is, which changes only with a listing.

    `uptime` is its availability in words, if it stands nowhere else.
    """
    environment = tracked.environment
    if tracked.profile:
        yield DetailLine("profile", tracked.profile)
    if tracked.verdict == NEVER_LISTED:
        return  # nothing is known of it but its name or device id
    mode = mode_of(environment.mode)
    sent_as = f" (sent as {environment.mode})" if mode != environment.mode else ""
    yield DetailLine(
        "mode",
        SafeText(f"{mode or NOTHING} · {mode_meaning(environment.mode)}{sent_as}"),
        "bold unrestricted" if mode == UNRESTRICTED else "",
    )
    yield DetailLine("version", _version(environment, profile_state))
    yield DetailLine("branch", environment.branch or NOTHING, fit=Fit.ENDS)
    if environment.working_directory:
        yield DetailLine("in", environment.working_directory, fit=Fit.END, letter=COPY_LETTERS["directory"])
    yield DetailLine("on", _host(environment))
    for label, id_ in (
        ("pod" if environment.pod_id else "last pod", tracked.pod_id),
        ("user", environment.user_id),
        ("owner", environment.api_key_owner),
    ):
        if id_:
            yield DetailLine(label, id_, fit=Fit.ENDS)
    yield from _update(environment, profile_state)
    yield from _relations(tracked, profile_state)
    if uptime is not None:
        yield DetailLine("uptime", uptime)
    yield from _times(tracked, profile_state, style)
    if commands := ", ".join(filter(None, environment.supported_commands or ())):
        yield DetailLine("commands", SafeText(commands))
    yield from _unknown(environment)


def _relations(tracked: TrackedEnvironment, profile_state: ProfileState) -> Iterator[DetailLine]:
    """Yield how often its connection changed, and the other environments of its device."""
    environment = tracked.environment
    if tracked.transitions:
        changes = counted(len(tracked.transitions), "change")
        yield DetailLine("churn", SafeText(f"{changes} of connection in the last hour"))
    twins = [
        other.environment.label
        for other in profile_state.environments.values()
        if other.environment.device_id == environment.device_id and other.environment.id != environment.id
    ]
    if twins:
        yield DetailLine("twins", SafeText(", ".join(twins)))


def _times(tracked: TrackedEnvironment, profile_state: ProfileState, style: TimeStyle) -> Iterator[DetailLine]:
    """Yield when it was first and last seen."""
    if profile_state.listed is None:
        return
    listed_at, environment = profile_state.clock.server_time(profile_state.listed.wall), tracked.environment
    zone = zone_of(style)
    date = instant_text(environment.first_seen_at, listed_at, zone)
    ago = f"{state_age(span(listed_at - environment.first_seen_at))} ago"
    first = f"{ago} · {date}" if style is TimeStyle.RELATIVE else f"{date} · {ago}"
    yield DetailLine(
        "seen", SafeText(f"first {first} · last {instant_text(environment.last_seen_at, listed_at, zone)}")
    )


def id_lines(tracked: TrackedEnvironment) -> Iterator[DetailLine]:
    """Yield the ids, each with the letter that copies it; none of what was never listed."""
    environment = tracked.environment
    if tracked.verdict == NEVER_LISTED:
        return
    yield DetailLine("device", environment.device_id, fit=Fit.ENDS, letter=COPY_LETTERS["device id"])
    yield DetailLine("id", environment.id, fit=Fit.ENDS, letter=COPY_LETTERS["environment id"])
    if environment.connection_id:
        letter = COPY_LETTERS["connection id"]
        yield DetailLine("conn", environment.connection_id, fit=Fit.ENDS, letter=letter)
    if environment.listener_instance_id:
        yield DetailLine("listener", environment.listener_instance_id, fit=Fit.ENDS)
    yield DetailLine("org", environment.organization_id, fit=Fit.ENDS)


def _version(environment: Environment, profile_state: ProfileState) -> SafeText:
    version = environment.version
    if version is None:
        return NOTHING
    newest = profile_state.newest
    if is_behind(version, newest):
        return SafeText(f"{version} · behind {newest}")
    return SafeText(f"{version} · newest here") if version == newest else version


def _host(environment: Environment) -> SafeText:
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
    return SafeText(" · ".join(word for word in words if isinstance(word, str) and word)) or NOTHING


def _memory(size: JsonValue) -> str | None:
    """Return a size in bytes for people (`32.0 GiB`); None if no machine has that much."""
    if not isinstance(size, (int, float)) or isinstance(size, bool) or not 0 < size < _MAX_MEMORY:
        return None
    import humanize  # noqa: PLC0415 - 10 ms that the first frame need not wait for

    return humanize.naturalsize(size, binary=True)


def _update(environment: Environment, profile_state: ProfileState) -> Iterator[DetailLine]:
    """Yield how it is updated; the command for that stands with what helps, where the version is behind."""
    update = environment.self_update
    if update is None:
        yield DetailLine("update", NOTHING)
        return
    reason = update.get("reason")
    because = f" · {reason}" if isinstance(reason, str) and reason else ""
    ability = "by itself" if update.get("writable") else "not writable"
    if not update.get("supported"):
        ability = "not by itself"
    yield DetailLine("update", SafeText(f"{ability}{because}"))
    command, path = update.get("manual_command"), update.get("install_path")
    if isinstance(command, str) and command and not is_behind(environment.version, profile_state.newest):
        letter = COPY_LETTERS["update command"]
        yield DetailLine("by hand", SafeText(command), fit=_shell(environment), letter=letter)
    if isinstance(path, str) and path:
        yield DetailLine("path", SafeText(path), fit=Fit.END)


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
        yield DetailLine("…", SafeText(f"{omitted} more" if omitted < _MAX_COUNT else f"{_MAX_COUNT} and more"))


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
    yield from (
        (key, value)
        for key, value in environment.unknown.items()
        if key != SHARED_FIELD or not isinstance(value, dict)  # shown in the head, see `state_details.shared_lines`
    )


def _tree_lines(label: str, value: JsonValue, depth: int) -> Iterator[DetailLine]:
    """Yield a value as lines: one of its own, and one for each member, a step deeper."""
    if not value or not isinstance(value, (dict, list)):
        yield DetailLine(label, shortened(json_text(value), _MAX_CELLS), depth=depth)
    elif depth + 1 == _MAX_DEPTH:
        yield DetailLine(label, SafeText("{…}" if isinstance(value, dict) else "[…]"), depth=depth)
    else:
        yield DetailLine(label, SafeText(""), depth=depth)
        members = value.items() if isinstance(value, dict) else (("-", item) for item in value)
        for key, member in members:
            yield from _tree_lines(key, member, depth + 1)


COPY_LETTERS: Final[Mapping[str, str]] = {
    "name": "n",
    "device id": "d",
    "environment id": "i",
    "connection id": "c",
    "update command": "u",
    "start command": "l",
    "directory": "w",
    "JSON": "j",
}
"""The letter that copies a text at once, after `y`, by the text's label."""


class Copy(NamedTuple):
    """A text that can be copied to the clipboard."""

    label: str
    """One of `COPY_LETTERS`."""
    text: SafeText

    @property
    def gist(self) -> SafeText:
        """The text if it is one line, else the number of its lines."""
        lines = self.text.count("\n") + 1
        return self.text if lines == 1 else SafeText(f"{lines} lines")


def copies(environment: Environment) -> list[Copy]:
    """Return the parts of an environment that are worth copying. The whole of it is JSON, see `output`."""
    update = environment.self_update or {}
    command = update.get("manual_command")
    texts = {
        "name": environment.name,
        "device id": environment.device_id,
        "environment id": environment.id,
        "connection id": environment.connection_id,
        "update command": command if isinstance(command, str) else None,
        "start command": start_command(environment),
        "directory": environment.working_directory,
    }
    return [Copy(label, SafeText(text)) for label, text in texts.items() if text]
