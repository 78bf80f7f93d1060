"""What changed between two runs of envwatch: the last moment of the one before, and the first listing of this one.

Pure. Must not know where moments are kept, nor whose they are: they have to be of one profile and host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import NOT_RUNNING, Event, Kind
from envwatch.fleet.fleet import in_groups
from envwatch.fleet.newcomers import named_by_device
from envwatch.fleet.presence import GONE, UNTIMED
from envwatch.fleet.tracking import TrackedEnvironment, events_between
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.history import Moment

_CLOCK_ERROR_MS: Final = limits.CLOCK_WARN_FROM / MS
LACKED: Final = Clean("not in the first listing")
"""Why a row is gone that one listing lacks: a second one has to prove it, and what it lists appears then."""


def changes_between_runs(before: Moment, first: Moment) -> Sequence[Event]:
    """Return what changed between two runs: one group, and no event if nothing did.

    If the time in between is too short to be blind, it is the events themselves, as within one run. Nothing is compared
    if either has no listing, or if their rows are of other organizations: then the key is another one.
    """
    asked = first.fleet.listed
    if before.fleet.listed is None or asked is None or not are_of_one_account(before.fleet, first.fleet):
        return ()
    at, ended_at = first.fleet.clock.at(asked.wall), before.fleet.clock.at(before.now.wall)
    if 0 <= ended_at - at < _CLOCK_ERROR_MS:
        # Two estimates of the server's clock may differ by more than lies between two runs.
        at = ServerMs(ended_at + 1)
    environments, events = _compared(before.fleet, first.fleet, at)
    grouped = in_groups(before.fleet, asked, first.fleet.clock, environments, events)
    return [_as_not_running(event) if event.kind is Kind.WHILE_BLIND else event for event in grouped]


def are_of_one_account(before: Fleet, first: Fleet) -> bool:
    """Whether two fleets can be of one account: any organization has rows in both, or one of them says of none."""
    old, new = (
        {tracked.environment.organization_id for tracked in fleet.environments.values()} - {Clean("")}
        for fleet in (before, first)
    )
    return not old or not new or not old.isdisjoint(new)


def _compared(before: Fleet, first: Fleet, at: ServerMs) -> tuple[Mapping[Clean, TrackedEnvironment], list[Event]]:
    """Return the environments at the first listing, those that are gone among them, and what happened to each."""
    environments: dict[Clean, TrackedEnvironment] = {}
    events: list[Event] = []
    for id_, tracked in first.environments.items():
        if tracked.presence.is_absent:  # expected, and never listed
            continue
        environments[id_] = tracked
        events += events_between(before.environments.get(id_), _comparable(tracked, before), at)
    unproven = frozenset[Clean]() if first.snapshot is None else first.snapshot.set_aside_ids | first.snapshot.in_doubt
    for id_, tracked in before.environments.items():
        if id_ in environments:
            continue
        if tracked.presence.is_absent or id_ in unproven:
            environments[id_] = tracked
            continue
        environments[id_] = replace(tracked, verdict=GONE)
        gone = events_between(tracked, environments[id_], at)
        events += (event if tracked.absent else replace(event, reason=LACKED) for event in gone)
    return environments, named_by_device(events, environments)


def _comparable(tracked: TrackedEnvironment, before: Fleet) -> TrackedEnvironment:
    """Return an environment of a first listing without what such a listing cannot know.

    That is whether it flaps, and the verdict where its heartbeat's time cannot be true.
    """
    known = before.environments.get(tracked.environment.id)
    if known is None or known.presence.is_absent:
        return tracked
    verdict = known.verdict if tracked.verdict == UNTIMED else tracked.verdict
    return replace(tracked, verdict=verdict, is_flapping=known.is_flapping)


def _as_not_running(group: Event) -> Event:
    """Return a group of changes as of a time without envwatch: how long a state lasted before is not known then."""
    return replace(group, reason=NOT_RUNNING, members=tuple(replace(each, lasted=None) for each in group.members))
