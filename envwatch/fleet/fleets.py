"""All fleets, by the profile under which each is listed: mostly one.

Pure. Each fleet has its own clock, listings and unknown rows, so a row is drawn with its own fleet, see `Fleets.of`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet, Freshness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from envwatch.fleet.events import Event
    from envwatch.fleet.presence import Presence
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Reading, ServerMs, WallMs
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True)
class Fleets:
    """The state of every profile."""

    by_profile: Mapping[Clean, Fleet] = field(default_factory=lambda: MappingProxyType({NO_PROFILE: Fleet()}))
    """By the name of the profile, `NO_PROFILE` where there is only one."""

    def after(self, profile: Clean, outcome: Outcome) -> tuple[Fleets, tuple[Event, ...]]:
        """Return the fleets after one poll under a profile, and what it changed, oldest first."""
        fleet, events = self.by_profile[profile].after(outcome)
        return Fleets(MappingProxyType({**self.by_profile, profile: fleet})), events

    def at(self, now: Reading) -> tuple[Fleets, tuple[Event, ...]]:
        """Return the fleets once time has passed, and an event for each that is blind from then on."""
        changes = {profile: fleet.at(now) for profile, fleet in self.by_profile.items()}
        events = tuple(chain.from_iterable(events for _, events in changes.values()))
        if not events:
            return self, ()
        return Fleets(MappingProxyType({profile: fleet for profile, (fleet, _) in changes.items()})), events

    def with_interval(self, intervals: Mapping[Clean, timedelta]) -> Fleets:
        """Return the fleets with other poll intervals in force, by profile; itself if nothing changes.

        One that is not polled, as in a replay, has none.
        """
        changed = {
            profile: fleet.with_interval(intervals.get(profile, fleet.interval))
            for profile, fleet in self.by_profile.items()
        }
        if all(changed[profile] is fleet for profile, fleet in self.by_profile.items()):
            return self
        return Fleets(MappingProxyType(changed))

    def __iter__(self) -> Iterator[Fleet]:
        return iter(self.by_profile.values())

    def __len__(self) -> int:
        """Return how many environments there are."""
        return sum(len(fleet.environments) for fleet in self)

    @property
    def are_several(self) -> bool:
        """Whether a row must show its profile."""
        return len(self.by_profile) > 1

    @property
    def is_listed(self) -> bool:
        """Whether any profile has a believed listing."""
        return len(self.unlisted) < len(self.by_profile)

    @property
    def unlisted(self) -> tuple[Clean, ...]:
        """The profiles without a believed listing."""
        return tuple(profile for profile, fleet in self.by_profile.items() if fleet.listed is None)

    @property
    def environments(self) -> Iterator[TrackedEnvironment]:
        """Every environment."""
        return chain.from_iterable(fleet.environments.values() for fleet in self)

    def tracked(self, key: EnvironmentKey) -> TrackedEnvironment | None:
        """Return an environment by its key."""
        profile, id_ = key
        fleet = self.by_profile.get(profile)
        return None if fleet is None else fleet.environments.get(id_)

    def of(self, tracked: TrackedEnvironment) -> Fleet:
        """Return the fleet of an environment."""
        return self.by_profile[tracked.profile]

    def is_unknown(self, tracked: TrackedEnvironment, now: Reading) -> bool:
        """Whether the verdict on a row must be shown as unknown."""
        return self.of(tracked).is_unknown(tracked, now)

    def old_listing_age(self, now: Reading) -> timedelta | None:
        """Return the age of the oldest listing that is no longer recent; None if all are."""
        ages = [fleet.age(now) for fleet in self if fleet.freshness(now) in (Freshness.STALE, Freshness.BLIND)]
        return max((age for age in ages if age is not None), default=None)

    def moments(self, wall: WallMs) -> Mapping[Clean, ServerMs]:
        """Return the time of each profile's server when this machine's clock shows `wall`."""
        return {profile: fleet.clock.at(wall) for profile, fleet in self.by_profile.items()}

    def counts(self) -> Mapping[Presence, int]:
        """Return how many environments there are of each presence."""
        counts: Counter[Presence] = Counter()
        for fleet in self:
            counts.update(fleet.counts())
        return counts
