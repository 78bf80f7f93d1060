"""An hour of the real `envwatch watch --hooks` on a fast clock: met needs, and number of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import alert_hour, fast_clock
from support.alert_hour import NEED_AFTER_S, Need
from support.alert_world import in_lines, told_again

if TYPE_CHECKING:
    from pathlib import Path

SPEED = 40


@pytest.mark.slow
@fast_clock.needs_faketime
def test_no_need_of_an_hour_is_missed(tmp_path: Path) -> None:
    outcome = fast_clock.outcome_of([alert_hour.__file__, "hour"], tmp_path, SPEED)
    told = [*map(told_again, outcome["told"])]
    needs = [Need(*each) for each in outcome["needs"]]
    opened = [each for each in told if each.what == "opened"]
    true = [each for each in opened if any(need.is_met_by(each) for need in needs)]
    met_after = {(need.name, need.began_at): need.met_after(told) for need in needs}
    late = [
        f"{need.name} after {after:.0f} s"
        for need in needs
        if (after := met_after[need.name, need.began_at]) is not None and after > NEED_AFTER_S + need.blind_s
    ]
    missed = [
        f"{need.name}, down from {need.began_at:.0f}" for need in needs if met_after[need.name, need.began_at] is None
    ]
    summary = (
        f"{len(needs)} needs, {len(missed)} missed, {len(late)} late: {', '.join(late)}\n"
        f"{len(opened)} messages: {len(true)} true, {len(opened) - len(true)} false; {len(told) - len(opened)} resolved"
    )
    print(summary)  # noqa: T201 - `pytest -s` shows how good the alerts are
    assert not missed, f"{summary}\nmissed: {missed}\n{in_lines(told)}\n{outcome['said']}"
