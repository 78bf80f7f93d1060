"""A local zone whose offset is 24 hours or more: UTC stands in, and the screen says so."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from support.tracked_environments import matches, tracked

from envwatch.model.times import clock_text, date_text, moment
from envwatch.model.zones import in_zone, with_zone
from envwatch.query.language import parse
from envwatch.storage.export import export, export_here
from envwatch.storage.log import PollLog
from envwatch.storage.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPOSSIBLE = ["XXX+24:30", "UTC-25", "XXX-24", "XXX+24", "XXX-24:59:59"]
USUAL = [("UTC0", "Z"), ("XXX-5:30", "+05:30"), ("XXX+23:59", "-23:59"), ("garbage", "Z")]


@contextmanager
def local_zone(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process run in a zone."""
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
        assert clock_text(NOW, None) == "08:53:20Z"
        assert date_text(NOW, None) == "2025-10-09 08:53:20Z"
        when = moment(NOW, None)
        assert when is not None
        assert f"{when:%H:%M}" == "08:53"


@pytest.mark.parametrize(("name", "offset"), USUAL)
def test_every_other_zone_is_shown_as_it_is(name: str, offset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone(name, monkeypatch):
        assert clock_text(NOW, None)[8:] == offset


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_date_in_a_filter_is_then_utc_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the screen shows and what the filter means is one and the same."""
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
