"""What a group of environments has in common and what is wrong with it, as labelled lines for the detail pane.

Pure, like `facts`, which tells of a single one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from envwatch.columns import quiet_at
from envwatch.facts import Fact
from envwatch.fleet import Sight
from envwatch.modes import mode_of
from envwatch.phrases import long_age
from envwatch.presence import Presence, span
from envwatch.text import Clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.acknowledged import Acks
    from envwatch.clock import Reading
    from envwatch.fleet import Fleet
    from envwatch.fleets import Fleets
    from envwatch.sections import Heading
    from envwatch.watch import Watch

_MOST: Final = 8
"""Values, or names, of one kind."""

_FIELDS: Final[tuple[tuple[str, Callable[[Watch], Clean | None]], ...]] = (
    ("modes", lambda watch: mode_of(watch.environment.mode)),
    ("versions", lambda watch: watch.environment.version),
    ("branches", lambda watch: watch.environment.branch),
    ("systems", lambda watch: watch.environment.os),
    ("pods", lambda watch: watch.environment.pod_id),
    ("users", lambda watch: watch.environment.user_id),
)


def group_facts(heading: Heading, fleets: Fleets, acks: Acks, now: Reading) -> Iterator[Fact]:
    """Yield how a group is: presences, its problems by name, the values of its members and how many have each.

    Args:
        heading: of the group.
        fleets: what is known.
        acks: problems that are acknowledged.
        now: this machine's clocks.
    """
    doubted = sum(fleets.doubts(watch, now) for watch in heading.watches)
    if doubted:
        yield Fact("unknown", Clean(f"{doubted} of {len(heading)}: what follows is what was last seen"), "unknown")
    for presence in Presence:
        members = [watch for watch in heading.watches if watch.presence is presence]
        if members:
            yield Fact(presence.value, _told(presence, members, fleets, now), presence.value)
    flapping = [watch for watch in heading.watches if watch.is_flapping]
    if flapping:
        yield Fact("flapping", _names(flapping), "flapping")
    acked = [watch for watch in heading.watches if watch.is_problem and watch.environment.id in acks]
    if acked:
        yield Fact("acked", _names(acked))
    for label, value_of in _FIELDS:
        counts = Counter(value for watch in heading.watches if (value := value_of(watch)))
        if counts:
            yield Fact(label, _counted(counts, without=len(heading) - counts.total()))


def _told(presence: Presence, members: list[Watch], fleets: Fleets, now: Reading) -> Clean:
    """Return how many there are, and of those that are not up to the mark, which, for how long nothing was heard."""
    if presence is Presence.ONLINE:
        return Clean(str(len(members)))
    ages = [span(_heard_until(fleets.of(watch), now) - quiet_at(watch)) for watch in members]
    silent = f"silent for {long_age(min(ages))}"
    if len(members) > 1:
        silent += f" to {long_age(max(ages))}"
    return Clean(f"{len(members)} · {silent} · {_names(members)}")


def _heard_until(fleet: Fleet, now: Reading) -> float:
    """Return until when silence was heard, server's clock in ms: without listings, nobody listens."""
    listed = fleet.listed
    return fleet.clock.at(now.wall if listed is None or fleet.sight(now) is Sight.LIVE else listed.wall)


def _names(watches: list[Watch]) -> Clean:
    names = [watch.environment.name for watch in watches[:_MOST]]
    more = len(watches) - len(names)
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
