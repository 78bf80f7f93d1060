"""Text for a chat: code spans, a sentence about environments, the answer to an acknowledgement.

A code span hides markup. Chats that get the raw text still look for mentions and links, so the spans break both up; the
JSON has the exact names. Times carry a zone, because readers of a chat live in several zones.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.alerting.losses import Key, Loss, key_of
from envwatch.fleet.problems import state_began_at
from envwatch.model import limits
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY, SafeText, composed, counted, enumerated, shortened
from envwatch.model.times import DAY_MS, MS, NOTHING, moment, offset_text, span, state_age
from envwatch.views.pane.remedies import remedies, start_remedies
from envwatch.views.verdict_text import UNKNOWN, last_text, reasons, state_text, why_unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.views.pane.remedies import Remedy


_REPLACED: Final = str.maketrans({"`": "'", "<": "‹", ">": "›", "|": "¦"})
"""Characters that end code spans, Slack's mentions and links, and cells of tables."""
_MENTION: Final = re.compile(r"(?<![0-9A-Za-z])@")
"""An `@` that may begin a mention, unlike the `@` in `user@host`."""
_LINK: Final = re.compile(r"://")

_LONGEST: Final = 40
_LONGEST_TEXT: Final = 160


def code(text: SafeText, width: int = _LONGEST) -> str:
    """Return a name or a value as a code span, shortened to `width` cells."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), width, keep="ends")))


def code_text(text: SafeText) -> str:
    """Return a sentence as a code span, shortened at the end."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), _LONGEST_TEXT)))


def code_note(text: SafeText) -> str:
    """Return a local user's note as a code span. Links stay intact, because a note may link to a ticket."""
    return _span(_plain(text))


_OWN_REASON: Final = re.compile(r"[a-z ,]+(?: \([0-9]+ s\))?")


def reason_text(reason: SafeText | None) -> str:
    """Return a loss's reason: envwatch's own words plainly, the words of a foreign recording in a code span."""
    if reason is None:
        return "reason not known"
    return reason if _OWN_REASON.fullmatch(reason) else code_text(reason)


def _plain(text: SafeText) -> SafeText:
    return composed(text.translate(_REPLACED))


def _span(text: str) -> str:
    return f"`{_MENTION.sub('(at)', text).strip() or NOTHING}`"  # cutting may have exposed the sign of a mention


def listed(items: Sequence[str], most: int) -> str:
    """Return items with commas, only the first if there are many: `a, b and 488 more`."""
    if len(items) <= most + 1:  # a single further name takes no more space than a count
        return joined(items)
    return enumerated(items[:most], len(items))


def joined(items: Iterable[str]) -> str:
    """Return items as in a sentence: `a, b and c`."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


_NAMES: Final = 4
_REASONS: Final = 4
_TOGETHER_MS: Final = timedelta(minutes=1) / MS
"""States with begins this close share a begin in the sentence."""
_ANY_ORGANIZATION: Final = "`letta server --org` and the organization's id"
_WAYS: Final = 3
"""Most commands in a sentence."""


class _State(NamedTuple):
    tracked: TrackedEnvironment
    word: str
    since: float | None
    """Server's clock, ms; None if unknown."""
    now: float
    why: str

    @property
    def is_down(self) -> bool:
        return self.word != UNKNOWN and not self.tracked.verdict.is_up


def incident_sentence(  # noqa: PLR0913  the facts that it states
    environments: Sequence[TrackedEnvironment],
    monitor: Monitor,
    now: Clocks,
    zone: tzinfo | None,
    *,
    shared: SafeText | None = None,
    is_past: bool = False,
) -> SafeText:
    """Return a sentence about environments: state, begin, reason, remedy, acknowledgement.

    `environments` has at least one element. With `is_past`, the sentence names the recorded moment `now`.
    """
    states = [_state_of(tracked, monitor, now) for tracked in environments]
    profiles = {monitor.fleet.for_environment(tracked).profile_name for tracked in environments}
    name = profiles.pop() if len(profiles) == 1 else EMPTY
    profile = f" ({code(name)})" if name else ""
    what = _one_text(states[0], profile, zone) if len(states) == 1 else _several_text(states, profile, zone, shared)
    parts = [what, *_what_to_do(states, monitor, now), *_who_acknowledged(states, monitor, zone)]
    as_of = f"As of {_time_text(states[0].now, states[0].now, zone)}: " if is_past else ""
    return composed(as_of + " ".join(f"{part}." for part in parts))


def _state_of(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> _State:
    profile_state = monitor.fleet.for_environment(tracked)
    is_unknown = profile_state.is_unknown(tracked, now)
    since: float | None
    if is_unknown:
        since, why = why_unknown(tracked, profile_state, now)
        parts = [why, last_text(tracked)]
    else:
        since, parts = state_began_at(tracked, profile_state.limits), [*reasons(tracked)]
    is_true = since is not None and since >= limits.EARLIEST_MS
    return _State(
        tracked,
        state_text(tracked, is_unknown=is_unknown),
        since if is_true else None,
        profile_state.clock.server_time(now.wall),
        ", ".join(map(reason_text, filter(None, parts))),
    )


def _one_text(state: _State, profile: str, zone: tzinfo | None) -> str:
    of = "The state of " if state.word == UNKNOWN else ""
    why = f": {state.why}" if state.why else ""
    return f"{of}{code(state.tracked.environment.label)}{profile} is {state.word}{_since_text([state], zone)}{why}"


def _several_text(states: Sequence[_State], profile: str, zone: tzinfo | None, shared: SafeText | None) -> str:
    count, words = f"{counted(len(states), 'environment')}{profile}", Counter(state.word for state in states)
    if len(words) == 1:
        of = "The states of " if UNKNOWN in words else ""
        what = f"{of}{count} are {states[0].word}{_since_text(states, zone)}"
    else:
        each = joined(f"{number:,} {'is' if number == 1 else 'are'} {word}" for word, number in words.most_common())
        down = _since_text([state for state in states if state.is_down], zone)
        what = f"Of {count}, {each}" + (f", down{down}" if down else "")
    where = f", all of {code(shared)}" if shared else ""
    names = listed([code(state.tracked.environment.label) for state in states], _NAMES)
    whys = Counter(state.why for state in states if state.why).most_common(_REASONS)
    why = joined(text if number == len(states) else f"{text} ({number:,})" for text, number in whys) if whys else ""
    return f"{what}{where}: {names}" + (f"; {why}" if why else "")


def _since_text(states: Iterable[_State], zone: tzinfo | None) -> str:
    begins = sorted((state.since, state.now) for state in states if state.since is not None)
    if not begins:
        return ""
    first, last = (
        f"since {_time_text(since, now, zone)} ({state_age(span(now - since))})"
        for since, now in (begins[0], begins[-1])
    )
    return f" {first}" if begins[-1][0] - begins[0][0] < _TOGETHER_MS else f", the first {first}, the last {last}"


def _time_text(at: float, now: float, zone: tzinfo | None) -> str:
    """Return a time with zone, and with the date if more than a day away: `03:01:28 UTC+01`."""
    when = moment(at, zone)
    if when is None:
        return "a time outside the calendar"
    date = "" if abs(now - at) < DAY_MS else f"{when:%Y-%m-%d} "
    return f"{date}{when:%H:%M:%S} UTC{offset_text(when).removeprefix('Z')}"


def _what_to_do(states: Sequence[_State], monitor: Monitor, now: Clocks) -> Iterator[str]:
    down = [state.tracked for state in states if state.is_down and state.tracked.replaced_by is None]
    if len(states) == 1 and down:
        starts = start_remedies(down[0].environment)
        if not starts:
            remedy = next(remedies(down[0], monitor.fleet.for_environment(down[0]), now))
            yield f"What to do: {remedy.notes[0]}"
            return
        others = start_remedies(down[0].environment, is_named=False)
        yield f"Start it, if no listener runs on its machine, with {_starts_text(starts, others)}"
        return
    unnamed = [start_remedies(each.environment, is_named=False) for each in down]
    ways = Counter(_starts_text(starts, starts) for starts in unnamed if starts)
    if len(ways) == 1:
        which = "each" if ways.total() == len(states) else f"{ways.total():,} of them"
        yield f"Start {which}, if no listener runs on its machine, with {next(iter(ways))}"
    elif ways:
        texts = [f"{number:,} with {text}" for text, number in ways.most_common(_WAYS)]
        if more := ways.total() - sum(number for _, number in ways.most_common(_WAYS)):
            texts.append(f"{more:,} as the details say")
        yield f"Start, if no listener runs on its machine, {'; '.join(texts)}"


def _starts_text(starts: Sequence[Remedy], unnamed: Sequence[Remedy]) -> str:
    """Return the commands and their reason. If a chat would change a command, the command has no name."""
    texts = [_command_text(named, other) for named, other in zip(starts, unnamed, strict=True)]
    notes = [note for each in starts if each.command is not None for note in each.notes]
    return " or ".join(texts) + (f": {notes[-1]}" if notes else "")


def _command_text(named: Remedy, unnamed: Remedy) -> str:
    for command in (named.command, unnamed.command):
        if command is not None and (text := code_text(command)) == f"`{command}`":
            return text
    return _ANY_ORGANIZATION  # another name, or another organization, would make another row


def _who_acknowledged(states: Sequence[_State], monitor: Monitor, zone: tzinfo | None) -> Iterator[str]:
    texts = Counter(text for state in states if (text := _acknowledged_text(state, monitor, zone)))
    if len(texts) == 1 and texts.total() == len(states):
        (text,) = texts
        yield f"Acknowledged {text}" if len(states) == 1 else f"All are acknowledged {text}"
    elif texts:
        yield f"{texts.total():,} of {len(states):,} are acknowledged"


def _acknowledged_text(state: _State, monitor: Monitor, zone: tzinfo | None) -> str:
    if (ack := monitor.ack_of(state.tracked)) is not None:
        text, note = f"at {_time_text(ack.at, state.now, zone)}", ack.note
    elif (mark := shared_ack_of(state.tracked.environment)) is not None:
        text, note = f"by {code(mark.by)}", mark.note
    else:
        return ""
    return f"{text}: {code_note(note)}" if note else text


def acknowledged_text(name: str, keys: Collection[Key], monitor: Monitor, now: Clocks) -> str:
    """Return the answer to an acknowledgement: how long it holds, and whether a message can still be sent."""
    recovery = "it recovers" if len(keys) == 1 else "they recover"
    return f"acknowledged on this machine until {recovery}: {name}{_about_message(keys, monitor, now)}"


def _about_message(keys: Collection[Key], monitor: Monitor, now: Clocks) -> str:
    waiting = {key_of(loss.event): loss for loss in monitor.incidents.waiting}
    if not waiting.keys() >= set(keys):
        return ""
    incidents = {waiting[key].incident for key in keys}
    losses = [loss for loss in waiting.values() if loss.incident in incidents]
    if not all(_is_in_time(loss, monitor, now) for loss in losses):
        return ""
    others = sum(not _is_acked(loss, monitor) for loss in losses)
    if others:
        return f"; a message about {counted(others, 'other')} may be sent"
    return "; no message will be sent from here"


def _is_in_time(loss: Loss, monitor: Monitor, now: Clocks) -> bool:
    """Whether a hook process here still polls, and so reads the acknowledgement, before sending."""
    profile = loss.event.profile
    interval = monitor.fleet.by_profile[profile].interval
    return now.monotonic + interval.total_seconds() < loss.counts_at(monitor.policy_of(profile), interval)


def _is_acked(loss: Loss, monitor: Monitor) -> bool:
    tracked = monitor.fleet.tracked(key_of(loss.event))
    return tracked is not None and monitor.is_acked(tracked)
