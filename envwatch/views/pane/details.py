"""An environment's properties, remedies and events as labelled lines, which change only with a listing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta, tzinfo
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import NEVER_LISTED
from envwatch.model.environment import METADATA_FIELDS, UNRESTRICTED, Environment, mode_meaning, mode_of, update_text
from envwatch.model.shared_marks import SHARED_FIELD
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted, shortened
from envwatch.model.times import NOTHING, TimeStyle, clock_text, short_age, span, state_age, zone_of
from envwatch.model.versions import is_behind
from envwatch.query.presentation import PRESENTATIONS, Filter, Presentation
from envwatch.views.events.event_text import event_style, event_text
from envwatch.views.pane.layout import DetailLine, Fit
from envwatch.views.pane.remedies import (
    outdated_remedy,
    remedies,
    reported_update,
    start_remedies,
    update_command,
)
from envwatch.views.state_style import instant_text, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.query.presentation import RowContext
    from envwatch.views.table.block import Block


EVENTS: Final = 5


def help_lines(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> Iterator[DetailLine]:
    """Yield the remedies as commands and notes."""
    for remedy in remedies(tracked, profile_state, now):
        lines = [DetailLine("", note) for note in remedy.notes]
        if remedy.command is not None:
            fit, letter = _shell(tracked.environment), COPY_LETTERS.get(remedy.copy, "")
            lines.insert(0, DetailLine("", remedy.command, "online", fit=fit, letter=letter))
        yield lines[0]._replace(label=remedy.label)
        yield from lines[1:]


def _shell(environment: Environment) -> Fit:
    return Fit.WINDOWS_COMMAND if environment.os == "win32" else Fit.COMMAND


def event_detail(  # noqa: PLR0913  the moment and the options of the screen
    event: Event,
    now: float,
    zone: tzinfo | None,
    block: Block | None = None,
    *,
    is_ascii: bool,
    is_named: bool = False,
) -> DetailLine:
    """Return an event, labelled with the time, or with the age from a day on.

    `now` is the server's clock in ms.
    """
    look, age = event_style(event, block), span(now - event.at)
    label = f"{short_age(age)} ago" if age >= timedelta(days=1) else clock_text(event.at, zone)[:8]
    name = f"{event.name} " if is_named and event.name else ""
    return DetailLine(
        label, composed(f"{look.ascii if is_ascii else look.glyph} {name}{event_text(event, zone)}"), look.style
    )


def about_lines(
    tracked: TrackedEnvironment, context: RowContext, uptime: SafeText | None, style: TimeStyle
) -> Iterator[DetailLine]:
    """Yield an environment's properties, and the availability if given."""
    if tracked.profile:
        yield DetailLine("profile", tracked.profile)
    if tracked.verdict == NEVER_LISTED:
        return
    for presentation in PRESENTATIONS.values():
        if presentation.pane and not presentation.is_id:
            own = _OWN_LINES.get(presentation.id)
            yield from _line(presentation, tracked, context, style) if own is None else own(tracked, context)
    yield from _relations(tracked, context.profile_state)
    if uptime is not None:
        yield DetailLine("uptime", uptime)
    yield from _times(tracked, context.profile_state, style)
    if commands := ", ".join(filter(None, tracked.environment.supported_commands or ())):
        yield DetailLine("commands", composed(commands))
    yield from _unknown(tracked.environment)


def _line(
    presentation: Presentation, tracked: TrackedEnvironment, context: RowContext, style: TimeStyle
) -> Iterator[DetailLine]:
    if presentation.filter is not Filter.INSTANT:
        yield from _text_line(presentation, presentation.cell_text(tracked, context))
    elif presentation.number is not None:
        at, listed_at = presentation.number(tracked, context), context.profile_state.listed_at
        if at is not None and listed_at is not None:
            yield DetailLine(presentation.pane, instant_text(at, listed_at, zone_of(style)))


def _text_line(presentation: Presentation, text: SafeText | None) -> Iterator[DetailLine]:
    if text:
        fit = Fit.END if presentation.keep == "end" else Fit.ENDS
        letter = COPY_LETTERS["id"] if presentation.id == "id" else ""
        yield DetailLine(presentation.pane, text, fit=fit, letter=letter)


def _relations(tracked: TrackedEnvironment, profile_state: ProfileState) -> Iterator[DetailLine]:
    environment = tracked.environment
    if tracked.transitions:
        changes = counted(len(tracked.transitions), "change")
        yield DetailLine("churn", composed(f"{changes} of connection in the last hour"))
    twins = [
        other.environment.label
        for other in profile_state.environments.values()
        if other.environment.device_id == environment.device_id and other.environment.id != environment.id
    ]
    if twins:
        yield DetailLine("twins", composed(", ".join(twins)))


def _times(tracked: TrackedEnvironment, profile_state: ProfileState, style: TimeStyle) -> Iterator[DetailLine]:
    if (listed_at := profile_state.listed_at) is None:
        return
    environment, zone = tracked.environment, zone_of(style)
    date = instant_text(environment.first_seen_at, listed_at, zone)
    ago = f"{state_age(span(listed_at - environment.first_seen_at))} ago"
    first = f"{ago} · {date}" if style is TimeStyle.RELATIVE else f"{date} · {ago}"
    yield DetailLine(
        "seen", composed(f"first {first} · last {instant_text(environment.last_seen_at, listed_at, zone)}")
    )


def id_lines(tracked: TrackedEnvironment) -> Iterator[DetailLine]:
    """Yield the ids of an environment, if ever listed."""
    if tracked.verdict == NEVER_LISTED:
        return
    for presentation in PRESENTATIONS.values():
        if presentation.is_id:
            yield from _text_line(presentation, presentation.text(tracked))


def _mode(tracked: TrackedEnvironment, _: RowContext) -> Iterator[DetailLine]:
    sent = tracked.environment.mode
    mode = mode_of(sent)
    sent_as = f" (sent as {sent})" if mode != sent else ""
    text = composed(f"{mode or NOTHING} · {mode_meaning(sent)}{sent_as}")
    yield DetailLine("mode", text, "bold unrestricted" if mode == UNRESTRICTED else "")


def _version(tracked: TrackedEnvironment, context: RowContext) -> Iterator[DetailLine]:
    version, newest = tracked.environment.version, context.profile_state.newest
    text = version or NOTHING
    if version is not None and is_behind(version, newest):
        text = composed(f"{version} · behind {newest}")
    elif version is not None and version == newest:
        text = composed(f"{version} · newest here")
    yield DetailLine("version", text)


def _branch(tracked: TrackedEnvironment, _: RowContext) -> Iterator[DetailLine]:
    yield DetailLine("branch", tracked.environment.branch or NOTHING, fit=Fit.ENDS)


def _pod(tracked: TrackedEnvironment, _: RowContext) -> Iterator[DetailLine]:
    if tracked.pod_id:
        yield DetailLine("pod" if tracked.environment.pod_id else "last pod", tracked.pod_id, fit=Fit.ENDS)


def _host(tracked: TrackedEnvironment, _: RowContext) -> Iterator[DetailLine]:
    environment = tracked.environment
    machine = environment.machine or {}
    system = [value for key in ("osName", "osVersion") if isinstance(value := machine.get(key), str)]
    words = [
        environment.os,
        " ".join(system),
        machine.get("model"),
        machine.get("cpu"),
        machine.get("architecture"),
        _memory(machine.get("memoryBytes")),
        f"node {environment.node_version}" if environment.node_version else None,
    ]
    yield DetailLine("on", composed(" · ".join(word for word in words if isinstance(word, str) and word)) or NOTHING)
    gpus = machine.get("gpus")
    counts = Counter(gpu for gpu in gpus if isinstance(gpu, str) and gpu) if isinstance(gpus, list) else Counter[str]()
    if counts:
        yield DetailLine(
            "gpus", composed(", ".join(f"{count} × {gpu}" if count > 1 else gpu for gpu, count in counts.items()))
        )


def _protocol(tracked: TrackedEnvironment, _: RowContext) -> Iterator[DetailLine]:
    environment = tracked.environment
    flags = (
        ("paired generations", environment.has_paired_generations),
        ("subagents notify their caller", environment.subagents_notify_caller),
    )
    words = [name if flag else f"no {name}" for name, flag in flags if flag is not None]
    if text := " · ".join(filter(None, [environment.message_protocol, *words])):
        yield DetailLine("protocol", composed(text))


def _memory(size: JsonValue) -> str | None:
    if not isinstance(size, (int, float)) or isinstance(size, bool) or not 0 < size < _MAX_MEMORY:
        return None
    import humanize  # noqa: PLC0415 - 10 ms that the first frame need not wait for

    return humanize.naturalsize(size, binary=True)


def _update(tracked: TrackedEnvironment, context: RowContext) -> Iterator[DetailLine]:
    environment = tracked.environment
    update, ability = environment.self_update, update_text(environment)
    if update is None or ability is None:
        yield DetailLine("update", NOTHING)
        return
    reason = update.get("reason")
    because = f" · {reason}" if isinstance(reason, str) and reason else ""
    yield DetailLine("update", composed(f"{_UPDATES[ability]}{because}"))
    text, path = reported_update(environment), update.get("install_path")
    remedy = outdated_remedy(environment, context.profile_state)
    if text is not None and (remedy is None or text not in {remedy.command, *remedy.notes}):
        is_command = text == update_command(environment)
        letter = COPY_LETTERS["update command"] if is_command else ""
        yield DetailLine("by hand", text, fit=_shell(environment) if is_command else Fit.WORDS, letter=letter)
    if isinstance(path, str) and path:
        yield DetailLine("path", composed(path), fit=Fit.END)


_UPDATES: Final = {
    clean("yes"): "by itself, when its listener restarts",
    clean("by hand"): "by hand",
    clean("no"): "not by itself",
}

_OWN_LINES: Final[Mapping[str, Callable[[TrackedEnvironment, RowContext], Iterator[DetailLine]]]] = {
    "mode": _mode,
    "version": _version,
    "branch": _branch,
    "os": _host,
    "pod": _pod,
    "update": _update,
    "protocol": _protocol,
}

_KNOWN_MACHINE = frozenset({"osName", "osVersion", "cpu", "architecture", "memoryBytes", "model", "gpus"})
_KNOWN_UPDATE = frozenset({"supported", "writable", "reason", "manual_command", "install_path"})

_MAX_MEMORY: Final = 2**60
_MAX_DEPTH: Final = 6
_MAX_LINES: Final = 60
_MAX_COUNT: Final = 1_000
_MAX_CELLS: Final = 300


def _unknown(environment: Environment) -> Iterator[DetailLine]:
    lines = chain.from_iterable(_tree_lines(key, value, 0) for key, value in _unknown_fields(environment))
    yield from islice(lines, _MAX_LINES)
    omitted = sum(1 for _ in islice(lines, _MAX_COUNT))
    if omitted:
        yield DetailLine("…", composed(f"{omitted} more" if omitted < _MAX_COUNT else f"{_MAX_COUNT} and more"))


def _unknown_fields(environment: Environment) -> Iterator[tuple[str, JsonValue]]:
    for key, value in (environment.metadata or {}).items():
        declared = METADATA_FIELDS.get(key)
        if declared is None or not (value is None or isinstance(value, declared.kind)):
            yield key, value
    for name, values, named in (
        ("machine", environment.machine, _KNOWN_MACHINE),
        ("self_update", environment.self_update, _KNOWN_UPDATE),
    ):
        yield from ((f"{name}.{key}", value) for key, value in (values or {}).items() if key not in named)
    yield from (
        (key, value)
        for key, value in environment.unknown.items()
        if key != SHARED_FIELD or not isinstance(value, dict)  # shown by `state_details.mark_lines`
    )


def _tree_lines(label: str, value: JsonValue, depth: int) -> Iterator[DetailLine]:
    if not value or not isinstance(value, (dict, list)):
        yield DetailLine(label, shortened(json_text(value), _MAX_CELLS), depth=depth)
    elif depth + 1 == _MAX_DEPTH:
        yield DetailLine(label, clean("{…}" if isinstance(value, dict) else "[…]"), depth=depth)
    else:
        yield DetailLine(label, EMPTY, depth=depth)
        members = value.items() if isinstance(value, dict) else (("-", item) for item in value)
        for key, member in members:
            yield from _tree_lines(key, member, depth + 1)


COPY_LETTERS: Final[Mapping[str, str]] = {
    "name": "n",
    "id": "i",
    "start command": "l",
    "update command": "u",
    "a sentence for a chat": "s",
    "JSON": "j",
}
"""The menu's other texts have no letter."""


def gist_of(text: str) -> SafeText:
    """Return a copied text, or the number of lines if several."""
    lines = text.count("\n") + 1
    return composed(text) if lines == 1 else composed(f"{lines} lines")


def copies(tracked: TrackedEnvironment) -> dict[str, str]:
    """Return the texts to copy, by label."""
    environment = tracked.environment
    texts = {
        "name": environment.name,
        "device id": environment.device_id,
        "id": environment.id,
        "connection id": environment.connection_id,
        "update command": update_command(environment),
        **{start.copy: start.command for start in start_remedies(environment) if tracked.replaced_by is None},
        "directory": environment.working_directory,
    }
    return {label: text for label, text in texts.items() if text}
