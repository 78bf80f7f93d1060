"""The words of block lines and window titles."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from envwatch.alerts.incident import losses_text
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.acks import Ack
from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, enumerated, shortened
from envwatch.model.times import span, state_age
from envwatch.query.presentation import for_text
from envwatch.query.state_looks import FLAPPING_GLYPHS, UNKNOWN, StateStyle, cause_text, glyph_of, style_of
from envwatch.views.state_style import ack_text, instant_text, shared_silence_text, why_blind
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.views.table.block import Block, BlockLine

NAME_CELLS: Final = 40
LEAST_NAMES: Final = 20


def line_state(line: BlockLine, monitor: Monitor, now: Clocks) -> tuple[StateStyle, SafeText]:
    """Return a line's style and state: `off`, `12 off`, `5 of 12 off`, `12 back`."""
    if line.subject is not None:
        return UNKNOWN, line.subject
    members = line.members
    looks = Counter(
        style_of(tracked, is_unknown=monitor.fleet.for_environment(tracked).is_unknown(tracked, now))
        for tracked in members
    )
    look = looks.most_common(1)[0][0]
    word = "back" if line.returned else look.word if len(looks) == 1 else "lost"
    if line.total == 1:
        return look, clean(word)
    count = f"{len(members):,}" if len(members) == line.total else f"{len(members):,} of {line.total:,}"
    return look, clean(f"{count} {word}")


def line_age_text(line: BlockLine, wall: float) -> SafeText:
    """Return the age of the newest loss or last return, in at most six cells."""
    return state_age(span(wall - line.noticed_at))


def tag_of(line: BlockLine, wall: float) -> ChangeTag | None:
    """Return `BACK`, or `NEW` for a fresh open loss (this machine's clock, ms)."""
    if line.is_acked:
        return None
    return ChangeTag.BACK if line.returned else ChangeTag.NEW if line.fresh_losses(wall) else None


def member_texts(tracked: TrackedEnvironment, judge: Judge) -> tuple[StateStyle, SafeText, SafeText, SafeText | None]:
    """Return a member's look, time in the state, cause, and acknowledgement."""
    profile_state, ack = judge.fleet.for_environment(tracked), judge.ack_of(tracked)
    return (
        style_of(tracked, is_unknown=profile_state.is_unknown(tracked, judge.now)),
        for_text(tracked, judge.moments[tracked.profile], profile_state.limits) or EMPTY,
        cause_of(tracked, judge),
        None if ack is None else _ack_text([ack], tracked.profile, judge),
    )


def line_names_text(
    line: BlockLine, ambiguous: frozenset[SafeText], room: int, *, has_profiles: bool = False, ellipsis: str = "…"
) -> SafeText:
    """Return shared values and names in `room` cells: `pod p-7: web-1, web-2 and 10 more`.

    With `has_profiles`, the profile precedes unless a cut name would have fewer than `LEAST_NAMES` cells.
    """
    profile = f"{line.profile} " if has_profiles else ""
    if line.blindness is not None:
        return shortened(composed(f"{profile}{losses_text([line.blindness])}"), room, ellipsis=ellipsis)
    names = _names(line.members, ambiguous, room)
    total = len(line.members)
    shared = f"{line.shared}: " if line.shared and total > 1 else ""
    for head in dict.fromkeys((profile + shared, profile)):
        for count in range(len(names), 0, -1):
            text = composed(head + enumerated(names[:count], total))
            if cells(text) <= room:
                return text
    more = f" +{total - 1:,}" if total > 1 else ""
    left = room - cells(profile)
    if profile and left >= min(cells(names[0] + more), LEAST_NAMES):
        return composed(f"{profile}{shortened(names[0], left - len(more), keep='ends', ellipsis=ellipsis)}{more}")
    if 0 < cells(more) >= room:
        return shortened(clean(f"{total:,}"), room, ellipsis=ellipsis)
    return composed(shortened(names[0], max(room - len(more), 1), keep="ends", ellipsis=ellipsis) + more)


def several_text(
    environments: Sequence[TrackedEnvironment],
    ambiguous: frozenset[SafeText] = frozenset(),
    room: int = NAME_CELLS,
) -> SafeText:
    """Return a single environment's uncut name, or the names that fit: `web-1, web-2 and 10 more`."""
    total, names = len(environments), _names(environments, ambiguous, room)
    if total == 1:
        return environments[0].environment.label
    whole = [f"{', '.join(names[:-1])} and {names[-1]}"] if len(names) == total else []
    parts = (enumerated(names[:count], total) for count in range(min(len(names), total - 1), 0, -1))
    texts = (composed(text) for text in (*whole, *parts))
    first = shortened(names[0], room, keep="ends")
    return next((text for text in texts if cells(text) <= room), composed(enumerated([first], total)))


def _names(environments: Sequence[TrackedEnvironment], ambiguous: frozenset[SafeText], room: int) -> Sequence[SafeText]:
    return [
        composed(tracked.environment.label + id_tail(tracked.environment.label, tracked.environment.id, ambiguous))
        for tracked in environments[: max(room // 2, 1)]
    ]


def why_text(line: BlockLine, judge: Judge) -> SafeText:
    """Return why members are down, or the notes if they are acknowledged."""
    if line.blindness is not None:
        ack = line.blindness_ack
        return EMPTY if ack is None else _ack_text([ack], line.profile, judge)
    if line.is_acked:
        acks = [ack for tracked in line.off if (ack := judge.ack_of(tracked)) is not None]
        return _ack_text(acks, line.profile, judge)
    if line.returned:
        return EMPTY
    causes = Counter(cause_of(tracked, judge) for tracked in line.off)
    if line.not_back is not None:
        causes = Counter({line.not_back: len(line.off)})
    parts = [text if len(causes) == 1 else f"{count:,} {text}" for text, count in causes.most_common() if text]
    zone = judge.policy_of(line.profile).zone
    shared = {shared_silence_text(tracked.environment, judge.now.wall, zone) for tracked in line.off}
    if len(shared) == 1 and (text := shared.pop()) is not None:  # None unless all members have the text
        parts.append(text)
    return composed(" · ".join(parts))


def _ack_text(acks: Sequence[Ack], profile: SafeText, judge: Judge) -> SafeText:
    at = judge.moments[profile]
    by = {ack.by for ack in acks}
    until = min((ack.until for ack in acks if ack.until is not None), default=None)
    notes = clean(", ".join(dict.fromkeys(ack.note for ack in acks if ack.note)))
    whole = Ack(at, notes, by=by.pop() if len(by) == 1 else EMPTY, until=until)
    return ack_text(whole, at, judge.policy_of(profile).zone)


def cause_of(tracked: TrackedEnvironment, judge: Judge) -> SafeText:
    """Return `cause_text`, or an empty text for a healthy row."""
    limits = judge.fleet.for_environment(tracked).limits
    return cause_text(tracked, judge.moments[tracked.profile], limits) or EMPTY


def nothing_open_text(block: Block, fleet: Fleet, now: Clocks, zone: tzinfo | None) -> SafeText:
    """Return the message for a block without a next open line."""
    unknown = f"whether something {'' if block.newest is None else 'else '}pages is unknown"
    if fleet.unlisted:
        return clean(f"no answer yet: {unknown}")
    if blind := [(why[0], each) for each in fleet if (why := why_blind(each, now)) is not None]:
        since, first = min(blind, key=itemgetter(0))
        return composed(f"{unknown} since {instant_text(since, first.clock.server_time(now.wall), zone)}")
    if block.newest is not None:
        return clean("this is the only line that pages")
    acked = sum(line.acked for line in block.lines)
    counts = [
        (acked, "acknowledged"),
        (block.unknown, "unknown"),
        *block.aside_counts,
    ]
    parts = [f"{count:,} {word}" for count, word in counts if count]
    return clean(f"nothing pages{': ' if parts else ''}{', '.join(parts)}")


def counts_text(block: Block, *, ascii_only: bool, flapping: int = 0, has_online: bool = False) -> SafeText:
    """Return the status line's counts above zero: `○5 +2 ◐2 ?3 1 platform`, or `●40` alone."""
    off = glyph_of(Presence.OFFLINE, ascii_only=ascii_only)
    late = glyph_of(Presence.LATE, ascii_only=ascii_only)
    counts = {
        off: block.paging,
        "+" if block.paging else f"{off}+": block.off_besides,
        late: block.presences.get(Presence.LATE, 0),
        FLAPPING_GLYPHS[ascii_only]: flapping,
    }
    shown = [f"{glyph}{count}" for glyph, count in counts.items() if count]
    online = block.presences.get(Presence.ONLINE, 0)
    unknown = [f"?{block.unknown}"] if block.unknown else []
    if has_online or not (online or block.presences.get(Presence.LATE, 0)) or not (shown or unknown):
        shown.append(f"{glyph_of(Presence.ONLINE, ascii_only=ascii_only)}{online}")
    return composed(" ".join(shown + unknown + _problems(block)))


def _problems(block: Block) -> list[str]:
    return [f"{count} {subject}" for count, subject in block.other_problems]


def window_title(block: Block, flapping: int, profiles: SafeText, mark: str = "", *, ascii_only: bool) -> SafeText:
    """Return a window title: `○5 ◐2 acme`, `●40 acme`, or `? 1 envwatch acme` if nothing is known.

    A title holds no text from the API. `mark` precedes a title about the past.
    """
    is_known = any(block.presences.values()) or any(block.asides.values())
    counts = [counts_text(block, ascii_only=ascii_only, flapping=flapping)] if is_known else ["?", *_problems(block)]
    return composed(" ".join(filter(None, (mark, *counts, profiles))))
