"""The simulated fleet's specification, passed to other processes as arguments."""

from __future__ import annotations

from argparse import ArgumentParser

from hypothesis import given
from hypothesis import strategies as st

from envwatch.demo.scenarios import FleetSpec, Scenario


@given(st.builds(FleetSpec, st.integers(0), st.integers(0), st.none() | st.sampled_from(Scenario)))
def test_another_process_makes_the_same_value_from_its_arguments(spec: FleetSpec) -> None:
    parser = ArgumentParser()
    FleetSpec.add_arguments(parser)
    assert FleetSpec.from_options(parser.parse_args(spec.arguments())) == spec
