"""The setting `timezone` in commands, options and lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from envwatch.cli.arguments import Exit, StopError, options_in
from envwatch.cli.bootstrap import all_settings_for, display_settings_of, past_moment
from envwatch.model.times import in_zone

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
timezone = "Asia/Tokyo"
[profiles.kathmandu]
timezone = "Asia/Kathmandu"
[profiles.tokyo]
"""
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    return str(path)


@pytest.mark.parametrize(
    ("profiles", "hours"), [("kathmandu", 5.75), ("tokyo", 9), ("tokyo,kathmandu", 9), ("kathmandu,tokyo", 5.75)]
)
def test_of_several_profiles_the_zone_of_the_first_one_holds(config: str, profiles: str, hours: float) -> None:
    all_settings_for(options_in(["list", "--config", config, "--profile", profiles]), {})
    assert in_zone(NEW_YEAR).utcoffset() == timedelta(hours=hours)


def test_the_demo_has_the_zone_of_the_file(config: str) -> None:
    display_settings_of(options_in(["demo", "--config", config]))
    assert in_zone(NEW_YEAR).utcoffset() == timedelta(hours=9)


def test_a_variable_comes_before_the_file_and_without_either_the_machine_has_its_own(config: str) -> None:
    own = in_zone(NEW_YEAR).utcoffset()
    options = options_in(["list", "--config", config])
    all_settings_for(options, {"ENVWATCH_TIMEZONE": "Asia/Kathmandu"})
    assert in_zone(NEW_YEAR).utcoffset() == timedelta(hours=5.75)
    all_settings_for(options_in(["list"]), {"ENVWATCH_CONFIG": "", "HOME": config, "XDG_CONFIG_HOME": config})
    assert in_zone(NEW_YEAR).utcoffset() == own


@pytest.mark.parametrize(("zone", "has_come"), [("Pacific/Kiritimati", True), ("UTC", False)])
def test_a_moment_without_an_offset_has_come_in_the_zone_or_not(zone: str, *, has_come: bool) -> None:
    """Kiritimati is 14 hours ahead of UTC."""
    text = f"{datetime.now(UTC) + timedelta(hours=7):%Y-%m-%d %H:%M}"
    options = options_in(["record", "-o", "a.rec", "--since", text])
    all_settings_for(options, {"ENVWATCH_TIMEZONE": zone})
    if has_come:
        ago = datetime.now(UTC) - past_moment(options.since)
        assert timedelta(hours=6.5) < ago < timedelta(hours=7.5)
        return
    with pytest.raises(StopError, match=r"has not come yet: here it is [-0-9]{10} [:0-9]{8}Z$") as stop:
        past_moment(options.since)
    assert stop.value.code is Exit.USAGE
