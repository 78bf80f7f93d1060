"""The uptime record rebuilt from a history is the record that was kept meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, listed, reading
from support.memory_history import MemoryHistory, day

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.earlier_runs import recorded_uptimes
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment

EVERY_S: Final = 60.0
LONG_AGO: Final = NOW - 48 * 3_600_000
NAMES: Final = tuple(map(clean, "abc"))


def row(name: SafeText, at: float, *, is_up: bool) -> Environment:
    link = {"lastHeartbeat": at} if is_up else {"connectionId": None, "lastHeartbeat": None}
    return environment(name, connectedAt=LONG_AGO, **link)


def kept_and_rebuilt(
    runs: Sequence[Sequence[Sequence[bool | None]]], gap_s: float
) -> tuple[UptimeRecord, UptimeRecord]:
    """Return both records after runs of listings; each listing has a state of each row, None for a missing row."""
    history, record, at = MemoryHistory(), UptimeRecord(), float(NOW)
    for run in runs:
        history.start_run()
        monitor = Monitor.create({NO_PROFILE: Limits()}).with_uptime_record(NO_PROFILE, record)
        for states in run:
            rows = [row(name, at, is_up=is_up) for name, is_up in zip(NAMES, states, strict=True) if is_up is not None]
            outcome = listed(rows, at, interval=timedelta(seconds=EVERY_S))
            monitor, changes = monitor.apply(NO_PROFILE, outcome, reading(at))
            history.record(monitor, changes)
            at += EVERY_S * 1000
        record, at = monitor.uptime_records[NO_PROFILE], at + gap_s * 1000
    return record, recorded_uptimes(history)


LISTINGS: Final = st.lists(
    st.tuples(st.lists(st.sampled_from([True, True, True, False]), min_size=3, max_size=3), st.integers(1, 30)),
    min_size=1,
    max_size=8,
).map(lambda parts: [states for states, count in parts for _ in range(count)])


@settings(max_examples=examples(60), deadline=None)
@given(LISTINGS)
def test_the_rebuilt_record_is_the_kept_record(listings: list[list[bool | None]]) -> None:
    kept, rebuilt = kept_and_rebuilt([listings], 0)
    assert rebuilt.watched_ms == pytest.approx(kept.watched_ms)
    for name in NAMES:
        one, other = (record.rows[name].after(record.watched_ms, is_up=True) for record in (kept, rebuilt))
        assert other.up == pytest.approx(one.up, abs=1.0)
        assert other.watched == pytest.approx(one.watched, abs=1.0)
        assert (kept.rows[name].is_up, kept.rows[name].is_first) == (
            rebuilt.rows[name].is_up,
            rebuilt.rows[name].is_first,
        )


def test_a_gap_between_two_runs_is_neither_up_nor_down() -> None:
    up, lost = [[True, True, True]] * 120, [[True, False, True]] * 60
    kept, rebuilt = kept_and_rebuilt([[*up, *lost], up], 100_000)
    assert rebuilt.watched_ms == pytest.approx(kept.watched_ms) == pytest.approx((179 + 119) * 60_000)
    for record in (kept, rebuilt):
        shares = [record.rows[name].after(record.watched_ms, is_up=True).share for name in NAMES]
        assert shares == [1.0, pytest.approx(1 - 59 / 298, abs=0.01), 1.0]


def test_rows_of_later_and_gone_rows_are_rebuilt() -> None:
    early, late = [[True, True, None]] * 60, [[True, None, True]] * 60
    kept, rebuilt = kept_and_rebuilt([[*early, *late]], 0)
    for record in (kept, rebuilt):
        assert [record.rows[name].is_up for name in NAMES] == [True, False, True]
        assert [record.rows[name].is_first for name in NAMES] == [True, True, False]
    for name in NAMES:
        one, other = (record.rows[name].after(record.watched_ms, is_up=False) for record in (kept, rebuilt))
        assert other.watched == pytest.approx(one.watched, abs=61_000)


def test_the_record_of_a_day() -> None:
    record = recorded_uptimes(day())
    shares = {id_: uptime.after(record.watched_ms, is_up=True).share for id_, uptime in record.rows.items()}
    assert shares[clean("env-steady")] == 1.0
    assert shares[clean("env-once")] == pytest.approx(1 - 3 / 21, abs=0.02)
    assert record.watched_ms / 3_600_000 == pytest.approx(21, abs=0.2)
    assert recorded_uptimes(MemoryHistory()) == UptimeRecord()
