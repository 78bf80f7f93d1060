"""The setting `timezone` in commands, options and lines."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import wire_rows
from support.faulty_server import KEY, faulty_server
from support.pty_terminal import environment

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


@pytest.mark.parametrize(("zone", "offset"), [("Asia/Kathmandu", "+05:45"), ("UTC", "Z")])
async def test_watch_and_its_log_have_the_times_of_the_zone(tmp_path: Path, zone: str, offset: str) -> None:
    command = [sys.executable, "-m", "envwatch", "watch", "--initial", "--interval=1s", f"--log-file={tmp_path}/log"]
    async with faulty_server(wire_rows(1)) as server:
        environ = environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url, ENVWATCH_TIMEZONE=zone)
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
    assert re.match(rf"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d{re.escape(offset)}  initial ", line)
    log = (tmp_path / "log").read_text().splitlines()
    assert log
    assert all(("+00:00" if zone == "UTC" else offset) in each.split()[0] for each in log)


@pytest.mark.parametrize(("zone", "has_passed"), [("Pacific/Kiritimati", True), ("UTC", False)])
async def test_the_end_of_watch_is_of_the_zone(tmp_path: Path, zone: str, *, has_passed: bool) -> None:
    text = f"{datetime.now(UTC) + timedelta(hours=7):%Y-%m-%d %H:%M}"
    command = [sys.executable, "-m", "envwatch", "watch", "--interval=1s", "--for=1s", "--until", text]
    async with faulty_server(wire_rows(1)) as server:
        environ = environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url, ENVWATCH_TIMEZONE=zone)
        done = await asyncio.to_thread(programs.run, command, environ)
    assert done.returncode == (Exit.USAGE if has_passed else Exit.FINE)
    here = r"--until: must be in the future: here it is [-0-9]{10} [:0-9]{8}\+14\n"
    assert re.search(here if has_passed else f"until {text}:00Z\n", done.stderr.decode())
