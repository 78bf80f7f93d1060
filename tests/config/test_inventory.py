"""The expected inventory and the alert policy in the configuration."""

from __future__ import annotations

import sys
import zoneinfo
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from support.tracked_environments import tracked

from envwatch.config.describe import ephemeral_warning
from envwatch.config.settings import Settings, all_settings_of, expected_by
from envwatch.config.values import ConfigError
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.watch.profiles import policy_for

if TYPE_CHECKING:
    from pathlib import Path


def settings_in(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = all_settings_of({"config": str(path)}, environ)
    return settings


def test_names_come_from_the_setting_and_then_from_the_file_beside_it_each_once(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("# ours\nnas\n\nmac # on the desk\n  build#2\t# a name with a mark\r\nnas\n")
    settings = settings_in(tmp_path, 'expect = ["ada", "nas"]\nexpect_file = "names"\n')
    assert expected_by(settings) == ("ada", "nas", "mac", "build#2")


def test_a_variable_holds_names_with_commas(tmp_path: Path) -> None:
    assert expected_by(settings_in(tmp_path, "", ENVWATCH_EXPECT="ada, nas")) == ("ada", "nas")


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"nas\nma\x07c\n", "names:2: must be a text of one line"),
        (b"nas\n\xff\n", "names:2: is not UTF-8"),
        (b"x\n" * 10_001, "names: has more than 10,000 names"),
        (b"x" * (1 << 20) + b"y", "config.toml:1: expect_file cannot be read: Larger than 1 MiB"),
        (None, "config.toml:1: expect_file cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, content: bytes | None, mistake: str) -> None:
    if content is not None:
        (tmp_path / "names").write_bytes(content)
    settings = settings_in(tmp_path, 'expect_file = "names"\n')
    with pytest.raises(ConfigError) as raised:
        expected_by(settings)
    assert raised.value.lines[0].startswith(f"{tmp_path}/{mistake}")


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("expect = [1]", "expect must be a list of names or device ids, 10,000 at most"),
        ('expect = [""]', "expect must be a list of names or device ids, 10,000 at most"),
        ('alert = "beat:soon"', "alert cannot be used: write a duration"),
        ('alert_after = "2d"', "alert_after must be 0s to 24h, written like 45s, 2m or a number of seconds"),
        ("expect_file = true", "expect_file must be a text of one line"),
        ('ephemeral = "beat:soon"', "ephemeral cannot be used: write a duration"),
        (
            "blind_after = 0",
            "blind_after must be 1s to 24h, written like 45s, 2m or a number of seconds, or false",
        ),
        (
            "blind_after = 86401",
            "blind_after must be 1s to 24h, written like 45s, 2m or a number of seconds, or false",
        ),
        (
            "blind_after = true",
            "blind_after must be 1s to 24h, written like 45s, 2m or a number of seconds, or false",
        ),
    ],
)
def test_a_mistake_in_a_setting_is_one_line(tmp_path: Path, setting: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings_in(tmp_path, setting)
    assert raised.value.lines[0].startswith(f"{tmp_path}/config.toml:1: {mistake}")


def test_the_policy_of_a_profile_is_a_value(tmp_path: Path) -> None:
    text = 'alert = "  mode:strict   web"\nalert_after = "2m"\nexpect = ["nas"]\n'
    one, other = (policy_for(settings_in(tmp_path, text)) for _ in range(2))
    assert one == other
    assert one.alert is not None
    assert (one.alert.query, one.alert_after, one.expect) == ("mode:strict web", timedelta(minutes=2), ("nas",))


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("Europe/Berlin", ""),
        ("UTC", ""),
        ("europe/berln", "must be the name of a time zone, like Europe/Berlin or UTC; did you mean Europe/Berlin?"),
        ("Berlin?", "must be the name of a time zone, like Europe/Berlin or UTC"),
        ("../Berlin", "must be the name of a time zone, like Europe/Berlin or UTC"),
        ("/etc/localtime", "must be the name of a time zone, like Europe/Berlin or UTC"),
        ("Europe", "must be the name of a time zone, like Europe/Berlin or UTC"),
        ("", "must be a text of one line"),
    ],
)
def test_a_time_zone_has_a_name(tmp_path: Path, name: str, mistake: str) -> None:
    if not mistake:
        assert settings_in(tmp_path, f'timezone = "{name}"').timezone == name
        return
    with pytest.raises(ConfigError) as raised:
        settings_in(tmp_path, f'timezone = "{name}"')
    (line,) = raised.value.lines
    assert line.startswith(f"{tmp_path}/config.toml:1: timezone {mistake}")


def test_a_machine_without_data_of_time_zones_says_so_and_knows_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, name, None)  # the import fails
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert settings_in(tmp_path, 'timezone = "UTC"').timezone == "UTC"
        with pytest.raises(ConfigError) as raised:
            settings_in(tmp_path, 'timezone = "Europe/Berlin"')
    finally:
        zoneinfo.reset_tzpath()
    what = "cannot be used: this machine has no data of time zones (Debian: install tzdata)"
    assert raised.value.lines == (f"{tmp_path}/config.toml:1: timezone {what}",)


def test_without_settings_a_loss_counts_after_4_minutes_and_blindness_after_15_minutes(tmp_path: Path) -> None:
    assert policy_for(settings_in(tmp_path, "")) == AlertPolicy()
    assert (AlertPolicy().alert_after, AlertPolicy().blind_after) == (timedelta(minutes=4), timedelta(minutes=15))


@pytest.mark.parametrize(
    ("written", "after"),
    [("1", timedelta(seconds=1)), ('"24h"', timedelta(days=1)), ("false", None), ('" False"', None)],
)
def test_blindness_of_a_length_or_of_none_is_an_incident(tmp_path: Path, written: str, after: timedelta | None) -> None:
    assert policy_for(settings_in(tmp_path, f"blind_after = {written}")).blind_after == after


@pytest.mark.parametrize(("name", "is_found"), [("ci-1", True), ("web-1", False)])
def test_rows_of_ephemeral_of_1_1_0_need_nobody(tmp_path: Path, name: str, *, is_found: bool) -> None:
    alert = policy_for(settings_in(tmp_path, 'ephemeral = "name:ci-*"')).alert
    assert alert is not None
    assert alert.matches(tracked(connectionName=name), NOW) is not is_found
    assert policy_for(settings_in(tmp_path, 'ephemeral = ""')).alert is None


@pytest.mark.parametrize(
    ("alert", "ephemeral", "line"),
    [
        ("", "name:ci-*", 'write alert = "!name:ci-*"'),
        ("os:linux", "name:ci-*,job-*", 'write alert = "os:linux !name:ci-*,job-*"'),
        ("os:linux", "!os:linux", "alert cannot say the same in one line"),
        ("", "!os:linux", 'write alert = "os:linux"'),
        ("name:web", "!os:linux", 'write alert = "name:web os:linux"'),
        ("", "ci", 'write alert = "!ci"'),
        ("", 'name:"a b"', "write alert = '!name:\"a b\"'"),
        ("", "name:ci-* os:linux", "alert cannot say the same in one line"),
    ],
)
def test_the_line_that_replaces_ephemeral_of_1_1_0_needs_the_same_rows(
    tmp_path: Path, alert: str, ephemeral: str, line: str
) -> None:
    settings = settings_in(tmp_path, f"alert = '{alert}'\nephemeral = '{ephemeral}'")
    warning = ephemeral_warning(settings)
    assert warning is not None
    assert line in warning
    assert warning.startswith(f"{tmp_path}/config.toml:2: the next version does not read ephemeral")
    if "write " not in warning:
        return
    new = policy_for(settings_in(tmp_path, warning.partition("write ")[2])).alert
    old = policy_for(settings).alert
    assert new is not None
    assert old is not None
    for name in ("ci-1", "web", "a b", "job-2"):
        for os in ("linux", "darwin"):
            row = tracked(connectionName=name, metadata={"os": os})
            assert new.matches(row, NOW) is old.matches(row, NOW), (name, os)


def test_without_ephemeral_there_is_no_warning(tmp_path: Path) -> None:
    assert ephemeral_warning(settings_in(tmp_path, 'alert = "os:linux"')) is None
