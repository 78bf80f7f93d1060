"""A local zone whose offset is 24 hours or more: UTC stands in, and the screen says so."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from support.builders import NOW
from support.tracked_environments import matches, tracked

from envwatch.files import export, export_here
from envwatch.model.times import clock_text, date_text, in_zone, moment, moment_of, past_moment_of, use_zone, with_zone
from envwatch.query.language import parse
from envwatch.redactor import Redactor
from envwatch.storage.log import PollLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPOSSIBLE = ["XXX+24:30", "UTC-25", "XXX-24", "XXX+24", "XXX-24:59:59"]
USUAL = [("UTC0", "Z"), ("XXX-5:30", "+05:30"), ("XXX+23:59", "-23:59"), ("garbage", "Z")]


@contextmanager
def local_zone(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_zone_is_shown_as_utc(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone(name, monkeypatch):
        assert clock_text(NOW, None) == "08:53:20"
        assert date_text(NOW, None) == "2025-10-09 08:53:20Z"
        when = moment(NOW, None)
        assert when is not None
        assert f"{when:%H:%M}" == "08:53"


@pytest.mark.parametrize(("name", "offset"), USUAL)
def test_every_other_zone_is_shown_as_it_is(name: str, offset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone(name, monkeypatch):
        assert date_text(NOW, None)[19:] == offset


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_date_in_a_filter_is_then_utc_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Screen and filter use the same zone."""
    with local_zone(name, monkeypatch):
        for query in ("beat:>=2025-10-09T08:53:08", "beat:<2025-10-09T08:53:09", "beat:2025-10-09"):
            assert matches(parse(query), tracked()), query


def test_exports_and_logs_are_written_in_an_impossible_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with local_zone("UTC-25", monkeypatch):
        assert export_here(b"data", ".json").is_file()
        path = export(b"data", tmp_path, ".csv", datetime(2026, 11, 25, 13, 0, tzinfo=UTC))
        assert path.name == "envwatch-20261125-130000.csv"
        poll_log = PollLog(tmp_path / "log", Redactor())
        poll_log.note("written")
        poll_log.close()
    assert "+00:00" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("hours", "shown"), [(23, 23), (24, 0), (-24, 0)])
def test_24_hours_are_the_first_impossible_offset(hours: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    with local_zone(f"XXX{-hours:+}", monkeypatch):
        assert in_zone(instant).utcoffset() == timedelta(hours=shown)
        assert in_zone(instant) == instant


def test_a_zone_that_is_given_is_used() -> None:
    zone = timezone(timedelta(hours=2))
    assert with_zone(datetime(2026, 1, 1), zone) == datetime(2026, 1, 1, tzinfo=zone)  # noqa: DTZ001  # has none yet


# A configured zone


@pytest.mark.parametrize("machine", ["UTC0", "XXX-5:30", "UTC-25"])
def test_a_configured_zone_is_the_local_one_wherever_the_machine_is(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_zone(machine, monkeypatch):
        use_zone(ZoneInfo("Asia/Kathmandu"))
        assert clock_text(NOW, None) == "14:38:20"
        assert date_text(NOW, UTC) == "2025-10-09 08:53:20Z"
        use_zone(None)
        assert clock_text(NOW, None) != "14:38:20"


@pytest.mark.parametrize(("written", "is_found"), [("14:38:07", False), ("14:38:08", True), ("14:38:09", False)])
def test_a_date_in_a_filter_is_of_the_configured_zone(written: str, *, is_found: bool) -> None:
    use_zone(ZoneInfo("Asia/Kathmandu"))
    row = tracked(lastHeartbeat=NOW - 12_000)
    assert matches(parse(f"beat:2025-10-09T{written}"), row) is is_found


def test_what_people_write_is_of_the_configured_zone() -> None:
    use_zone(ZoneInfo("Asia/Kathmandu"))
    now = datetime(2026, 1, 1, 20, tzinfo=UTC)  # 01:45 of the next day there
    assert past_moment_of("today", now) == datetime(2026, 1, 1, 18, 15, tzinfo=UTC)
    assert past_moment_of("01:45", now) == now
    assert past_moment_of("01:46", now) == datetime(2025, 12, 31, 20, 1, tzinfo=UTC)
    assert moment_of("01:46", now) == datetime(2026, 1, 1, 20, 1, tzinfo=UTC)


@pytest.mark.parametrize(("second", "shown"), [(-1, "02:59:59+02"), (0, "02:00:00+01")])
def test_the_clocks_of_a_configured_zone_go_back_at_their_moment(second: int, shown: str) -> None:
    use_zone(ZoneInfo("Europe/Berlin"))
    at = datetime(2026, 10, 25, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert date_text(at.timestamp() * 1000, None)[11:] == shown
