"""The fleet: the state of each profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from envwatch.fleet.events import NO_PROFILE, Event
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import timedelta

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Clocks, ServerMs, WallMs
    from envwatch.model.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Fleet:
    """The state of every profile."""

    by_profile: Mapping[SafeText, ProfileState] = field(
        default_factory=lambda: MappingProxyType({NO_PROFILE: ProfileState()})
    )

    def apply(
        self, profile: SafeText, outcome: Outcome, kept: Collection[SafeText] = frozenset()
    ) -> tuple[Fleet, tuple[Event, ...]]:
        """Return the fleet after a poll, and the events, oldest first; see `ProfileState.apply`."""
        profile_state, events = self.by_profile[profile].apply(outcome, kept)
        return self.with_profile_state(profile, profile_state), events

    def with_profile_state(self, profile: SafeText, profile_state: ProfileState) -> Fleet:
        """Return the fleet with a profile's new state."""
        return Fleet(MappingProxyType({**self.by_profile, profile: profile_state}))

    def tick(self, now: Clocks) -> tuple[Fleet, tuple[Event, ...]]:
        """Return the fleet at a later moment, and an event for each profile that becomes blind."""
        changes = {profile: profile_state.tick(now) for profile, profile_state in self.by_profile.items()}
        events = tuple(chain.from_iterable(events for _, events in changes.values()))
        if not events:
            return self, ()
        return Fleet(MappingProxyType({profile: each for profile, (each, _) in changes.items()})), events

    def __iter__(self) -> Iterator[ProfileState]:
        return iter(self.by_profile.values())

    def __len__(self) -> int:
        return sum(len(profile_state.environments) for profile_state in self)

    @property
    def are_several(self) -> bool:
        """Whether there are several profiles, so that rows show the profile."""
        return len(self.by_profile) > 1

    @property
    def is_listed(self) -> bool:
        """Whether any profile has a believed listing."""
        return len(self.unlisted) < len(self.by_profile)

    @property
    def unlisted(self) -> tuple[SafeText, ...]:
        """Profiles without a believed listing."""
        return tuple(profile for profile, profile_state in self.by_profile.items() if profile_state.listed is None)

    @property
    def environments(self) -> Iterator[TrackedEnvironment]:
        """All environments."""
        return chain.from_iterable(profile_state.environments.values() for profile_state in self)

    def tracked(self, key: EnvironmentKey) -> TrackedEnvironment | None:
        """Return the environment with a key, if tracked."""
        profile, id_ = key
        profile_state = self.by_profile.get(profile)
        return None if profile_state is None else profile_state.environments.get(id_)

    def for_environment(self, tracked: TrackedEnvironment) -> ProfileState:
        """Return the state of an environment's profile."""
        return self.by_profile[tracked.profile]

    @property
    def servers(self) -> Mapping[SafeText, SafeText]:
        """Servers by profile."""
        return {profile: profile_state.server for profile, profile_state in self.by_profile.items()}

    def server_of(self, profile: SafeText) -> SafeText:
        """Return a profile's server; empty if the profile is not watched, as in a past event."""
        return EMPTY if (profile_state := self.by_profile.get(profile)) is None else profile_state.server

    def identity(self, key: EnvironmentKey) -> tuple[SafeText, SafeText]:
        """Return a key that is equal for an environment under two profiles of a server."""
        profile, id_ = key
        return (self.server_of(profile) or profile, id_)

    def old_listing_age(self, now: Clocks) -> timedelta | None:
        """Return the age of the oldest stale or blind listing."""
        ages = [
            profile_state.age(now)
            for profile_state in self
            if profile_state.freshness(now) in (Freshness.STALE, Freshness.BLIND)
        ]
        return max((age for age in ages if age is not None), default=None)

    def moments(self, wall: WallMs) -> Mapping[SafeText, ServerMs]:
        """Return each server's time at a wall time."""
        return {profile: profile_state.clock.server_time(wall) for profile, profile_state in self.by_profile.items()}
