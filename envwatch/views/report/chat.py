"""Texts for a chat about rows, and the answer to an acknowledgement.

Times have a zone, because readers of a chat live in several zones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.alerts.losses import Key, Loss, key_of
from envwatch.fleet.problems import state_began_at
from envwatch.model import limits
from envwatch.model.acks import AckResult
from envwatch.model.text import SafeText, composed, counted
from envwatch.model.times import DAY_MS, long_age, moment
from envwatch.views.pane.remedies import remedies, start_remedies
from envwatch.views.report.document import (
    Line,
    acknowledged_by,
    code,
    code_text,
    minutes_between,
    reason_text,
    sentences,
    zone_text,
)
from envwatch.views.state_style import last_text, reasons, state_text, why_unknown
from envwatch.views.table.block_text import several_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
    from datetime import timedelta, tzinfo

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import AckedRow
    from envwatch.model.clock import Clocks
    from envwatch.views.pane.remedies import Remedy

_SENTENCES: Final = 4
_ANY_ORGANIZATION: Final = "`letta server --org` and the organization's id"


def incident_sentence(  # noqa: PLR0913  the facts that it states
    environments: Sequence[TrackedEnvironment],
    monitor: Monitor,
    now: Clocks,
    zone: tzinfo | None,
    *,
    shared: SafeText | None = None,
    is_past: bool = False,
) -> SafeText:
    """Return a sentence about one or more environments: state, begin, reason, remedy, acknowledgement.

    With `is_past`, the text names the recorded moment.
    """
    profile_states = [monitor.fleet.for_environment(tracked) for tracked in environments]
    names = {profile_state.profile_name for profile_state in profile_states}
    at = profile_states[0].clock.server_time(now.wall)
    lines = [_line(each, monitor, now, zone, is_named=len(environments) == 1) for each in environments]
    texts = sentences(lines, _SENTENCES)
    if is_past:
        texts[0] = f"as of {_time_text(at, at, zone)}: {texts[0]}"
    where = [f"all of {code(shared)}"] if shared else []
    where += [f"profile {code(name)}" for name in names if name] if len(names) == 1 else []
    texts += [", ".join(where)] if where else []
    return composed(" ".join(f"{text[0].upper()}{text[1:]}." for text in texts))


def _line(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks, zone: tzinfo | None, *, is_named: bool) -> Line:
    profile_state = monitor.fleet.for_environment(tracked)
    is_unknown, at = profile_state.is_unknown(tracked, now), profile_state.clock.server_time(now.wall)
    since: float | None
    if is_unknown:
        since, why = why_unknown(tracked, profile_state, now)
        whys = [why, last_text(tracked)]
    else:
        since, whys = state_began_at(tracked, profile_state.limits), [*reasons(tracked)]
    text = str(state_text(tracked, is_unknown=is_unknown))
    if since is not None and since >= limits.EARLIEST_MS:
        text += f" since {_time_text(since, at, zone)} ({minutes_between(since, at)})"
    if any(whys):
        text += f": {', '.join(map(reason_text, filter(None, whys)))}"
    if not is_unknown and not tracked.verdict.is_up and tracked.replaced_by is None:
        starts = start_remedies(tracked.environment, is_named=is_named)
        others = start_remedies(tracked.environment, is_named=False)
        start = f"start with {_starts_text(starts, others)}, if no listener runs on its machine"
        text += f"; {start if starts else _clause(next(remedies(tracked, profile_state, now)).notes[0])}"
    if (ack := monitor.judge(now).ack_of(tracked)) is not None:
        text += f"; acknowledged at {_time_text(ack.at, at, zone)}{acknowledged_by(ack)}"
    return Line(code(tracked.environment.label), text)


def _time_text(at: float, now: float, zone: tzinfo | None) -> str:
    when = moment(at, zone)
    if when is None:
        return "a time outside the calendar"
    date = "" if abs(now - at) < DAY_MS else f"{when:%Y-%m-%d} "
    return f"{date}{when:%H:%M} {zone_text(when)}"


def _starts_text(starts: Sequence[Remedy], unnamed: Sequence[Remedy]) -> str:
    """Return the commands, without names that a chat would change, and the notes."""
    texts = [_command_text(named, other) for named, other in zip(starts, unnamed, strict=True)]
    notes = " ".join(note for each in starts if each.command is not None for note in each.notes)
    return " or ".join(texts) + (f" ({_clause(notes)})" if notes else "")


def _command_text(named: Remedy, unnamed: Remedy) -> str:
    command, short = named.command, unnamed.command
    if command is not None and command != short and code_text(command) == f"`{command}`":
        return code_text(command)
    if short is None or code_text(short) != f"`{short}`":
        return _ANY_ORGANIZATION  # a different organization would make a new row, as a different name would
    return f"`{short}` {'under its name in its directory' if 'server' in short else 'in its directory'}"


def _clause(sentence: str) -> str:
    """Return a sentence as a part of a sentence."""
    first = sentence if sentence.startswith("`") else f"{sentence[0].lower()}{sentence[1:]}"
    return first.removesuffix(".")


def acknowledged_text(
    name: str, keys: Collection[Key], monitor: Monitor, now: Clocks, lasts: timedelta | None = None
) -> str:
    """Return the answer to an acknowledgement, with the end and the expected messages."""
    return f"acknowledged on this machine {_lasts_text(keys, lasts)}: {name}{_about_message(keys, monitor, now)}"


def _lasts_text(acked: Sized, lasts: timedelta | None) -> str:
    if lasts is not None:
        return f"for {long_age(lasts)}"
    return f"until {'it recovers' if len(acked) == 1 else 'they recover'}"


ACK_RESULTS: Final[Mapping[AckResult, str]] = {
    AckResult.RECOVERED: "nothing to acknowledge, back again",
    AckResult.OTHER_LOSS: "lost again since, look again",
    AckResult.UNKNOWN: "not known to the server",
}
"""Why an envwatch server did not acknowledge a row."""


def shared_acks_text(results: Iterable[tuple[TrackedEnvironment, AckedRow]], lasts: timedelta | None) -> SafeText:
    """Return a server's answer to an acknowledgement, from the result for each row."""
    groups: dict[str, list[TrackedEnvironment]] = {}
    below: dict[SafeText, list[TrackedEnvironment]] = {}
    for row, got in results:
        if got.result is AckResult.ACKED:
            below.setdefault(got.still_pages, []).append(row)
            continue
        what = ACK_RESULTS.get(got.result, "")
        if got.result is AckResult.ALREADY:
            what = f"already acknowledged by {got.by}"
        groups.setdefault(what, []).append(row)
    parts = [
        f"acknowledged {f'only below {host}' if host else 'for the team'} {_lasts_text(acked, lasts)}:"
        f" {several_text(acked)}{f'; {host} still pages' if host else ''}"
        for host, acked in below.items()
    ]
    parts += [f"{what}: {several_text(same)}" for what, same in groups.items()]
    return composed("; ".join(parts))


def _about_message(keys: Collection[Key], monitor: Monitor, now: Clocks) -> str:
    waiting = {key_of(loss.event): loss for loss in monitor.incidents.waiting}
    if not waiting.keys() >= set(keys):
        return ""
    incidents = {waiting[key].incident for key in keys}
    losses = [loss for loss in waiting.values() if loss.incident in incidents]
    judge = monitor.judge(now)
    if not all(_is_in_time(loss, judge) for loss in losses):
        return ""
    others = sum(not _is_acked(loss, judge) for loss in losses)
    if others:
        return f"; a message about {counted(others, 'other')} may be sent"
    return "; no message will be sent from here"


def _is_in_time(loss: Loss, judge: Judge) -> bool:
    """Whether a hook process here polls, and so reads the acknowledgement, before sending."""
    profile = loss.event.profile
    interval = judge.fleet.by_profile[profile].interval
    return judge.now.monotonic + interval.total_seconds() < loss.counts_at(judge.policy_of(profile), interval)


def _is_acked(loss: Loss, judge: Judge) -> bool:
    tracked = judge.fleet.tracked(key_of(loss.event))
    return tracked is not None and judge.is_acked(tracked)
