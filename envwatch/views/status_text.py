"""The wording of the status line, and the answers of keys that go back in time."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.events import Kind
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted
from envwatch.model.times import MS, NOTHING, clock_text, moment, offset_text, short_age, span
from envwatch.views.state_style import IMPOSSIBLE, date_warning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks, ServerMs, WallMs


EXAMPLES: Final = "3m ago, 02:13, yesterday 14:00, 2026-11-25 14:00"

NO_HISTORY: Final = "there is no history, because it is off: set history = true, and start envwatch again"
NOTHING_RECORDED: Final = "no history yet: [ goes back after the second recorded listing"
NOT_NOW: Final = "not while rewound: L returns to live"
REPLAYED: Final = "a replay has nothing live: this key does not work here"
POLLS_GO_ON: Final = "this key works live only: L returns to live"
REPLAY_POLLS_NOTHING: Final = "a replay does not poll: p pauses the replay, [ and ] step"
EMPTY_RECORDING: Final = "the recording has no poll"
IS_LIVE: Final = "the screen is live already: [ goes back, T goes to a time"


def moment_text(at: float, present: float, zone: tzinfo | None) -> SafeText:
    """Return an instant (this machine's clock, ms), with the date unless today."""
    when, now = moment(at, zone), moment(present, zone)
    if when is None or now is None:
        return NOTHING
    day = "" if when.date() == now.date() else f"{when:%Y-%m-%d} "
    return clean(f"{day}{when:%H:%M:%S}{'' if zone is None else offset_text(when)}")


def ago_text(at: float, present: float, *, ascii_only: bool) -> SafeText:
    """Return the age of a moment: `(−41 m)`, or from an hour on in two units: `(−1 h 51 m)`."""
    seconds = int(span(present - at).total_seconds())
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        age = f"{seconds} s"
    elif hours < 1:
        age = f"{minutes} m"
    else:
        age = f"{hours} h {minutes % 60} m" if hours < 24 else f"{hours // 24} d {hours % 24} h"
    return clean(f"({'-' if ascii_only else '−'}{age})")


def trouble_text(fleet: Fleet, now: Clocks) -> SafeText:
    """Return why the present cannot be seen, for a screen that shows the past."""
    if any(profile_state.is_refused for profile_state in fleet):
        return clean("key refused")
    return clean("blind") if any(each.freshness(now) is Freshness.BLIND for each in fleet) else EMPTY


def mistake_text(text: str) -> SafeText:
    """Return a message about a wrongly typed moment."""
    if not text.strip():
        return clean(f"type a past time: {EXAMPLES}")
    return clean(f"this is no past time; write {EXAMPLES}")


def speed_text(speed: float) -> SafeText:
    """Return the speed of a replay: `10x`, `0.5x`."""
    return clean(f"{speed:g}x")


_ANOMALY_WORDS: Final[Mapping[Anomaly, str]] = {
    Anomaly.EMPTIED: "empty list",
    Anomaly.VANISHED: "rows vanished",
    Anomaly.BEATS_LOST: "beats lost",
}


def quarantine_badge(profile_state: ProfileState, now: Clocks) -> tuple[SafeText, SafeText] | None:
    """Return the quarantined listing's anomaly and the quarantine's age."""
    if profile_state.quarantine is None:
        return None
    lasts = timedelta(seconds=max(now.monotonic - profile_state.quarantine.since, 0.0))
    return clean(_ANOMALY_WORDS[profile_state.quarantine.anomaly]), short_age(lasts)


def quarantine_text(profile_state: ProfileState, now: Clocks, zone: tzinfo | None) -> SafeText | None:
    """Return the quarantine's reason and the rows' state."""
    quarantine, since = profile_state.quarantine, profile_state.periods.get(Kind.HELD)
    if quarantine is None or since is None:
        return None
    listings = counted(max(limits.ANOMALY_POLLS - quarantine.listings, 1), "more listing")
    until = clock_text(since + limits.ANOMALY_AFTER / MS, zone) if quarantine.left_s(now.monotonic) else listings
    shown = "missing rows stay unchanged"
    if quarantine.is_whole and profile_state.listed is not None:
        shown = f"rows are as of {clock_text(profile_state.clock.server_time(profile_state.listed.wall), zone)}"
    return clean(
        f"{quarantine.finding.text} ({clock_text(since, zone)}): not believed before {until}; {shown} (r asks now)"
    )


def stalled_since(profile_state: ProfileState) -> ServerMs | None:
    """Return when heartbeats stopped advancing (server's clock)."""
    return profile_state.periods.get(Kind.STALLED) if profile_state.stall_detector.is_stalled else None


def hooks_text(failing: Mapping[SafeText, WallMs], zone: tzinfo | None) -> SafeText | None:
    """Return the names of failing hooks and the first failure's time."""
    if not failing:
        return None
    first, *others = sorted(failing, key=lambda name: (failing[name], name))
    who = f"hook {first} has" if not others else f"hook {first} and {counted(len(others), 'other')} have"
    return composed(f"{who} failed since {clock_text(failing[first], zone)}: no incident message arrives")


def doubt_text(profile_state: ProfileState, zone: tzinfo | None) -> SafeText | None:
    """Return why rows read unknown although polls succeed, if a cause concerns all rows."""
    if profile_state.stall_detector.is_stalled:
        since = stalled_since(profile_state)
        moment = NOTHING if since is None else clock_text(since, zone)
        return clean(f"no new heartbeat since {moment}: the platform stalls, not the machines; online rows are unknown")
    if (warning := date_warning(profile_state)) is not None:
        return clean(f"{warning}: not believed; dependent rows are unknown (clk?)")
    # Nearly always the first row is not in doubt, so further rows cost nothing.
    if not all(map(_is_in_doubt, profile_state.environments.values())):
        return None
    rows = [row for row in profile_state.environments.values() if row.clock_suspect]
    if not rows:
        return None
    if all(row.has_impossible_time for row in rows):
        return clean(f"every heartbeat has an impossible time ({IMPOSSIBLE}): rows are unknown (clk?)")
    return clean("the server's Date contradicts every heartbeat: ages are uncertain, and rows are unknown (clk?)")


def _is_in_doubt(row: TrackedEnvironment) -> bool:
    return row.clock_suspect or not row.environment.connection_id or row.presence.is_absent
