"""All fleets under watch, by the profile under which each is listed: mostly one.

Pure. Owns what is told of all of them together; each has its own clock, its own listings and its own doubts, so whoever
draws a row asks for that row's fleet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from envwatch.events import SOLE
from envwatch.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from envwatch.clock import Reading
    from envwatch.events import Event
    from envwatch.outcome import Outcome
    from envwatch.presence import Presence
    from envwatch.text import Clean
    from envwatch.watch import Watch, WatchKey


def _one_fleet() -> Mapping[Clean, Fleet]:
    return MappingProxyType({SOLE: Fleet()})


@dataclass(frozen=True, slots=True)
class Fleets:
    """Everything that is known at one moment."""

    by_profile: Mapping[Clean, Fleet] = field(default_factory=_one_fleet)
    """By the name of the profile, `SOLE` where there is only one."""

    def after(self, profile: Clean, outcome: Outcome) -> tuple[Fleets, tuple[Event, ...]]:
        """Return the fleets after one poll under a profile, and what it changed, oldest first."""
        fleet, events = self.by_profile[profile].after(outcome)
        return Fleets(MappingProxyType({**self.by_profile, profile: fleet})), events

    def paced(self, intervals: Mapping[Clean, timedelta]) -> Fleets:
        """Return the fleets, polled at these intervals by profile; the same ones if that changes nothing."""
        paced = {profile: fleet.paced(intervals[profile]) for profile, fleet in self.by_profile.items()}
        if all(paced[profile] is fleet for profile, fleet in self.by_profile.items()):
            return self
        return Fleets(MappingProxyType(paced))

    def __iter__(self) -> Iterator[Fleet]:
        return iter(self.by_profile.values())

    def __len__(self) -> int:
        """Return how many environments there are."""
        return sum(len(fleet.watches) for fleet in self)

    @property
    def are_several(self) -> bool:
        """Whether a row must say under which profile it is listed."""
        return len(self.by_profile) > 1

    @property
    def is_listed(self) -> bool:
        """Whether any listing has been believed."""
        return len(self.unlisted) < len(self.by_profile)

    @property
    def unlisted(self) -> tuple[Clean, ...]:
        """The profiles of which no listing has been believed."""
        return tuple(profile for profile, fleet in self.by_profile.items() if fleet.listed is None)

    @property
    def watches(self) -> Iterator[Watch]:
        """Every environment."""
        return chain.from_iterable(fleet.watches.values() for fleet in self)

    def watch(self, key: WatchKey) -> Watch | None:
        """Return an environment as it is known now."""
        profile, id_ = key
        fleet = self.by_profile.get(profile)
        return None if fleet is None else fleet.watches.get(id_)

    def of(self, watch: Watch) -> Fleet:
        """Return the fleet of an environment."""
        return self.by_profile[watch.profile]

    def doubts(self, watch: Watch, now: Reading) -> bool:
        """Whether the verdict on a row must be shown as unknown."""
        return self.of(watch).doubts(watch, now)

    def counts(self) -> Mapping[Presence, int]:
        """Return how many environments there are of each presence."""
        counts: Counter[Presence] = Counter()
        for fleet in self:
            counts.update(fleet.counts())
        return counts
