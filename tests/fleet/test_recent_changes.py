"""The change that marks a row, and the mark's duration."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment

from envwatch.fleet.presence import DISCONNECTED, GONE, LATE, ONLINE
from envwatch.fleet.tracking import ChangeTag, RecentChange, appearance, later_change, turn
from envwatch.model.clock import ServerMs

MODE: dict[str, Any] = {"currentMode": "plan"}
VERSION: dict[str, Any] = {"metadata": {"lettaCodeVersion": "9.9.9"}}
CONNECTION: dict[str, Any] = {"connectionId": "conn-2"}


def changed(last: RecentChange | None = None, at: float = NOW, **row: Any) -> RecentChange | None:
    return later_change(last, environment(), environment(**row), ServerMs(at))


@pytest.mark.parametrize(("age_ms", "is_recent"), [(0, True), (899_999, True), (900_000, False)])
def test_a_change_is_recent_for_15_minutes(age_ms: float, *, is_recent: bool) -> None:
    assert RecentChange(ChangeTag.BACK, NOW).is_recent(NOW + age_ms) is is_recent


def test_only_what_is_down_is_marked_as_a_loss() -> None:
    assert [turn(verdict, NOW).tag for verdict in (DISCONNECTED, GONE, ONLINE, LATE)] == ["NEW", "NEW", "BACK", "BACK"]
    assert [appearance(verdict, NOW).tag for verdict in (DISCONNECTED, ONLINE)] == ["NEW", "JOIN"]


def test_mode_version_and_connection_mark_a_row() -> None:
    version = environment(**VERSION)
    assert changed(**MODE) == RecentChange(ChangeTag.MODE, NOW)
    assert later_change(None, version, version, NOW) is None
    assert changed(**VERSION) == RecentChange(ChangeTag.VERSION, NOW)
    assert changed(**CONNECTION) == RecentChange(ChangeTag.CONNECTION, NOW)
    assert changed(**MODE, **VERSION, **CONNECTION) == RecentChange(ChangeTag.MODE, NOW)
    assert changed(lastHeartbeat=NOW) is None


@pytest.mark.parametrize(("first", "second"), list(combinations(ChangeTag, 2)))
def test_a_lesser_change_does_not_hide_a_recent_one(first: ChangeTag, second: ChangeTag) -> None:
    row = {ChangeTag.MODE: MODE, ChangeTag.VERSION: VERSION, ChangeTag.CONNECTION: CONNECTION}.get(second)
    if row is None:
        return  # comings and goings always mark the row: `turn`
    last = RecentChange(first, NOW)
    assert changed(last, NOW + 899_999, **row) is last
    assert changed(last, NOW + 900_000, **row) == RecentChange(second, ServerMs(NOW + 900_000))


@given(st.sampled_from(ChangeTag), st.floats(0, 2e6))
def test_a_row_without_changes_keeps_its_mark(tag: ChangeTag, age_ms: float) -> None:
    last = RecentChange(tag, NOW)
    assert changed(last, NOW + age_ms) is last
