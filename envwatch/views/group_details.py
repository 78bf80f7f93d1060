"""What a group of environments has in common and what is wrong with it, as labelled lines for the detail pane.

Pure, like `facts`, which tells of a single one.
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

_MOST: Final = 8
"""Values, or names, of one kind."""

_FIELDS: Final[tuple[tuple[str, Callable[[TrackedEnvironment], Clean | None]], ...]] = (
    ("modes", lambda tracked: mode_of(tracked.environment.mode)),
    ("versions", lambda tracked: tracked.environment.version),
    ("branches", lambda tracked: tracked.environment.branch),
    ("systems", lambda tracked: tracked.environment.os),
    ("pods", lambda tracked: tracked.environment.pod_id),
    ("users", lambda tracked: tracked.environment.user_id),
)


def group_lines(heading: GroupHeader, fleets: Fleets, acks: Acks, now: Reading) -> Iterator[DetailLine]:
    """Yield how a group is: presences, its problems by name, the values of its members and how many have each.

    Args:
        heading: of the group.
        fleets: what is known.
        acks: problems that are acknowledged.
        now: this machine's clocks.
    """
    doubted = sum(fleets.is_unknown(tracked, now) for tracked in heading.environments)
    if doubted:
        yield DetailLine(
            "unknown", Clean(f"{doubted} of {len(heading)}: what follows is what was last seen"), "unknown"
        )
    for presence in Presence:
        members = [tracked for tracked in heading.environments if tracked.presence is presence]
        if members:
            yield DetailLine(presence.value, _told(presence, members, fleets, now), presence.value)
    flapping = [tracked for tracked in heading.environments if tracked.is_flapping]
    if flapping:
        yield DetailLine("flapping", _names(flapping), "flapping")
    acked = [tracked for tracked in heading.environments if tracked.is_problem and tracked.environment.id in acks]
    if acked:
        yield DetailLine("acked", _names(acked))
    for label, value_of in _FIELDS:
        counts = Counter(value for tracked in heading.environments if (value := value_of(tracked)))
        if counts:
            yield DetailLine(label, _counted(counts, without=len(heading) - counts.total()))


def _told(presence: Presence, members: list[TrackedEnvironment], fleets: Fleets, now: Reading) -> Clean:
    """Return how many there are, and of those that are not up to the mark, which, for how long nothing was heard."""
    if presence is Presence.ONLINE:
        return Clean(str(len(members)))
    ages = [span(_heard_until(fleets.of(tracked), now) - tracked.quiet_at) for tracked in members]
    silent = f"silent for {long_age(min(ages))}"
    if len(members) > 1:
        silent += f" to {long_age(max(ages))}"
    return Clean(f"{len(members)} · {silent} · {_names(members)}")


def _heard_until(fleet: Fleet, now: Reading) -> float:
    """Return until when silence was heard, server's clock in ms: without listings, nobody listens."""
    listed = fleet.listed
    return fleet.clock.at(now.wall if listed is None or fleet.freshness(now) is Freshness.LIVE else listed.wall)


def _names(environments: list[TrackedEnvironment]) -> Clean:
    names = [tracked.environment.name for tracked in environments[:_MOST]]
    more = len(environments) - len(names)
    return Clean(", ".join(names) + (f" and {more} more" if more else ""))


def _counted(counts: Counter[Clean], *, without: int) -> Clean:
    """Return values and how many have each, the most frequent first, and at the end how many have none."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    is_shared = len(ranked) == 1 and not without
    told = [value if is_shared else f"{value} ×{count}" for value, count in ranked[:_MOST]]
    if more := len(ranked) - len(told):
        told.append(f"{more} more")
    if without:
        told.append(f"none ×{without}")
    return Clean(" · ".join(told))
