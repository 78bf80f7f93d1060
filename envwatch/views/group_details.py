"""A group of environments, its problems and common values, as labelled lines for the detail pane.

Pure. `details` does the same for one environment.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import Presence
from envwatch.model.modes import mode_of
from envwatch.model.text import Clean
from envwatch.model.times import long_age, span
from envwatch.views.details import DetailLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.views.grouping import GroupHeader

_MAX_LISTED: Final = 8
"""Values or names in one line."""

_FIELDS: Final[tuple[tuple[str, Callable[[TrackedEnvironment], Clean | None]], ...]] = (
    ("modes", lambda tracked: mode_of(tracked.environment.mode)),
    ("versions", lambda tracked: tracked.environment.version),
    ("branches", lambda tracked: tracked.environment.branch),
    ("systems", lambda tracked: tracked.environment.os),
    ("pods", lambda tracked: tracked.environment.pod_id),
    ("users", lambda tracked: tracked.environment.user_id),
)


def group_lines(header: GroupHeader, fleets: Fleets, acks: Acks, now: Reading) -> Iterator[DetailLine]:
    """Yield the presences of a group, its problems by name, and the values of its members with their counts."""
    unknown = sum(fleets.is_unknown(tracked, now) for tracked in header.environments)
    if unknown:
        yield DetailLine("unknown", Clean(f"{unknown} of {len(header)}: below is what was last seen"), "unknown")
    for presence in Presence:
        members = [tracked for tracked in header.environments if tracked.presence is presence]
        if members:
            yield DetailLine(presence.value, _presence_text(presence, members, fleets, now), presence.value)
    flapping = [tracked for tracked in header.environments if tracked.is_flapping]
    if flapping:
        yield DetailLine("flapping", _names(flapping), "flapping")
    acked = [tracked for tracked in header.environments if tracked.is_problem and tracked.environment.id in acks]
    if acked:
        yield DetailLine("acked", _names(acked))
    for label, value_of in _FIELDS:
        counts = Counter(value for tracked in header.environments if (value := value_of(tracked)))
        if counts:
            yield DetailLine(label, _counts_text(counts, without=len(header) - counts.total()))


def _presence_text(presence: Presence, members: list[TrackedEnvironment], fleets: Fleets, now: Reading) -> Clean:
    """Return the count, and for any presence but online how long they have been silent and their names."""
    if presence is Presence.ONLINE:
        return Clean(str(len(members)))
    ages = [span(_silence_ends_at(fleets.of(tracked), now) - tracked.quiet_at) for tracked in members]
    silent = f"silent for {long_age(min(ages))}"
    if len(members) > 1:
        silent += f" to {long_age(max(ages))}"
    return Clean(f"{len(members)} · {silent} · {_names(members)}")


def _silence_ends_at(fleet: Fleet, now: Reading) -> float:
    """Return until when silence is measured, server's clock in ms: the newest listing, or now while it is fresh."""
    listed = fleet.listed
    return fleet.clock.at(now.wall if listed is None or fleet.freshness(now) is Freshness.LIVE else listed.wall)


def _names(environments: list[TrackedEnvironment]) -> Clean:
    names = [tracked.environment.name for tracked in environments[:_MAX_LISTED]]
    more = len(environments) - len(names)
    return Clean(", ".join(names) + (f" and {more} more" if more else ""))


def _counts_text(counts: Counter[Clean], *, without: int) -> Clean:
    """Return values with their counts, the most frequent first, and at the end how many members have none."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    is_shared = len(ranked) == 1 and not without
    parts = [value if is_shared else f"{value} ×{count}" for value, count in ranked[:_MAX_LISTED]]
    if more := len(ranked) - len(parts):
        parts.append(f"{more} more")
    if without:
        parts.append(f"none ×{without}")
    return Clean(" · ".join(parts))
