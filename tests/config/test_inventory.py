"""The expected inventory and the alert policy, as the configuration has them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from envwatch.cli.bootstrap import policy_for
from envwatch.config.inventory import expected_by
from envwatch.config.settings import Settings, all_settings_of
from envwatch.config.values import ConfigError

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
    assert (one.alert.query, one.alert_after, one.expect) == ("mode:strict web", timedelta(minutes=2), ("nas",))
