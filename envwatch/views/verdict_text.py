"""The words for a verdict. Table, pane, Explain, chat and lists join these clauses with their own times and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import UNTIMED, Presence, Reason
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model.text import SafeText, clean, composed
from envwatch.model.times import long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.limits import Limits

UNKNOWN: Final = clean("unknown")

_FLAPPING: Final = clean("flapping")
_UNREADABLE: Final = clean("its row cannot be read")
_NO_LISTING: Final = clean("no listing has come since")


def state_text(tracked: TrackedEnvironment, *, is_unknown: bool) -> SafeText:
    """Return the presence, or `unknown`."""
    return UNKNOWN if is_unknown else clean(tracked.presence.value)


def last_text(tracked: TrackedEnvironment) -> SafeText | None:
    """Return `was offline` for a row in an unknown state, or None without an earlier verdict."""
    return None if tracked.verdict == UNTIMED else clean(f"was {tracked.presence}")


def why_unknown(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> tuple[float | None, SafeText]:
    """Return since when a row's state is unknown (server's clock, ms; None if unknown), and the reason."""
    if (blindness := profile_state.blindness(now)) is not None:
        return blindness
    if profile_state.listed is not None and profile_state.freshness(now) is Freshness.BLIND:
        return profile_state.clock.server_time(profile_state.listed.wall), _NO_LISTING
    return None, clean(Reason.UNTIMED) if tracked.has_impossible_time else _UNREADABLE


def flapping_text(tracked: TrackedEnvironment) -> SafeText | None:
    """Return `flapping`, or None for a steady or replaced row."""
    return _FLAPPING if tracked.is_flapping and tracked.replaced_by is None else None


def reasons(tracked: TrackedEnvironment) -> Iterator[SafeText]:
    """Yield why a row is late or down, and `flapping`."""
    if tracked.presence is not Presence.ONLINE:
        yield tracked.reason
    if (flapping := flapping_text(tracked)) is not None:
        yield flapping


def lasted_text(event: Event, how: str) -> str:
    """Return how long the state before an event lasted, after `how`: `was on for 2m 10s`; empty if unknown."""
    return "" if event.lasted is None else f"{how} {long_age(event.lasted)}"


def countdown_text(left_s: float, *, is_short: bool = False) -> SafeText:
    """Return when a late row goes offline: `offline in 12 s`, or `off in 12 s`."""
    if left_s <= 0:
        return clean("off next poll" if is_short else "offline at the next listing")
    return clean(f"{'off' if is_short else 'offline'} in {left_s:.0f} s")


def cause_text(tracked: TrackedEnvironment, now: float, fleet_limits: Limits) -> SafeText | None:
    """Return why a row is down, late or flapping, in at most 14 cells; None for a healthy row."""
    match tracked.presence:
        case Presence.LATE if not tracked.clock_suspect:
            left = fleet_limits.online_for - span(now - tracked.environment.last_seen_alive_at)
            return countdown_text(left.total_seconds(), is_short=True)
        case Presence.ONLINE if tracked.is_flapping:
            return composed(f"{len(tracked.transitions)} changes/h")
        case _:
            return short_reason(tracked)


def short_reason(tracked: TrackedEnvironment) -> SafeText | None:
    """Return a verdict's reason in at most 14 cells, without parts that change with time; None for a healthy row."""
    if tracked.replaced_by is not None:
        return tracked.reason
    reason = tracked.verdict.reason
    if reason in (Reason.BEATING, Reason.UNTIMED):
        return None
    return _SHORT_REASONS.get(reason) or clean(reason.value)


_SHORT_REASONS: Final = {
    Reason.ABSENT: clean("not listed"),
    Reason.EXPECTED: clean("not listed"),
    Reason.NEVER_LISTED: clean("never listed"),
    Reason.MISSED: clean("ping missed"),
}
