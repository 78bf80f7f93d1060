"""Invariants of a fleet under any events in any order; see `fleet_machine`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from support.budget import examples
from support.builders import with_pages
from support.fleet_state_machine import FleetMachine

from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import MonotonicS, ServerMs
from envwatch.model.outcome import Failed, Listed

if TYPE_CHECKING:
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.outcome import Outcome


TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(
    max_examples=examples(300), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


Reduced = tuple["ProfileState", tuple[Event, ...]]


class PartialTakenAsFull(FleetMachine):
    def after_partial(self, profile_state: ProfileState, outcome: Failed, read: Listed) -> Reduced:
        del outcome
        return profile_state.apply(read)


class LastDuplicateWins(FleetMachine):
    def after(self, profile_state: ProfileState, outcome: Outcome) -> Reduced:
        if isinstance(outcome, Listed):
            pages = outcome.snapshot.pages
            last = {row.id: row for page in pages for row in page.environments}
            outcome = with_pages(outcome, *(replace(page, environments=list(last.values())) for page in pages[:1]))
        return profile_state.apply(outcome)


class FirstListingFires(FleetMachine):
    def after(self, profile_state: ProfileState, outcome: Outcome) -> Reduced:
        after, events = profile_state.apply(outcome)
        if profile_state.listings == 0:
            events = tuple(Event(kind=Kind.APPEARED, at=ServerMs(self.now), id=id_) for id_ in after.environments)
        return after, events


class GoneAtOnce(FleetMachine):
    def after(self, profile_state: ProfileState, outcome: Outcome) -> Reduced:
        after, events = profile_state.apply(outcome)
        if isinstance(outcome, Listed) and any(tracked.absent for tracked in after.environments.values()):
            after, more = after.apply(outcome)
            events += more
        return after, events


class DoubtIgnored(FleetMachine):
    def after(self, profile_state: ProfileState, outcome: Outcome) -> Reduced:
        if isinstance(outcome, Listed):
            outcome = outcome._replace(snapshot=outcome.snapshot._replace(in_doubt=frozenset()))
        return profile_state.apply(outcome)


class HeldForTwoListings(FleetMachine):
    def after(self, profile_state: ProfileState, outcome: Outcome) -> Reduced:
        if profile_state.quarantine is not None:
            profile_state = replace(
                profile_state, quarantine=profile_state.quarantine._replace(listings=9, since=MonotonicS(float("-inf")))
            )
        return profile_state.apply(outcome)


@pytest.mark.parametrize(
    ("variant", "complaint"),
    [
        (PartialTakenAsFull, "a failed poll"),
        (LastDuplicateWins, "not the row with the newest heartbeat|the order of the rows"),
        (FirstListingFires, "the first listing was an event"),
        (GoneAtOnce, "gone unproven"),
        (DoubtIgnored, "gone unproven"),
        (HeldForTwoListings, "half of the rows vanished at once"),
    ],
)
def test_a_naive_fleet_is_found_out(variant: type[FleetMachine], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        run_state_machine_as_test(
            variant,
            settings=settings(
                max_examples=100,
                stateful_step_count=30,
                deadline=None,
                phases=[Phase.generate],
                derandomize=True,
                report_multiple_bugs=False,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
