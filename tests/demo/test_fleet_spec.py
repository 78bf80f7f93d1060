"""The simulated fleet's specification, passed to other processes as JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from envwatch.demo.scenarios import FleetSpec, Scenario


@given(st.builds(FleetSpec, st.integers(0), st.integers(0), st.none() | st.sampled_from(Scenario)))
def test_another_process_makes_the_same_value_from_its_json(spec: FleetSpec) -> None:
    found = FleetSpec.from_values(*json.loads(json.dumps(spec)))
    assert found == spec
    assert found.scenario is spec.scenario
