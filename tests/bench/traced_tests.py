"""A plugin of pytest for mutants: coverage learns the running test of each line, and a failed property ends at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from coverage import Coverage
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Leave out the search for the simplest example: a mutant is killed by any."""
    settings.register_profile("any-example", settings(), phases=(Phase.explicit, Phase.generate))
    settings.load_profile("any-example")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Name the test to coverage, if lines are traced."""
    coverage = Coverage.current()
    if coverage is None:
        return (yield)
    coverage.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        coverage.switch_context("")
