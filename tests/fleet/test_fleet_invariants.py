"""Invariants of a fleet under any events in any order; see `FleetMachine`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from support.budget import examples
from support.fleet_state_machine import FleetMachine

TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(
    max_examples=examples(300), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
