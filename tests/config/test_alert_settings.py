"""Settings about alerts: expected names, time zone, blindness, the tables `[[silences]]`."""

from __future__ import annotations

import sys
import zoneinfo
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from support.tracked_environments import tracked

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.config.describe import value_text
from envwatch.config.schema import parse_document
from envwatch.config.settings import Settings, expected_by, read_settings
from envwatch.config.values import ConfigError
from envwatch.model.text import EMPTY
from envwatch.watch.profiles import policy_for

if TYPE_CHECKING:
    from pathlib import Path


BLIND = "1s to 24h, written like 45s, 2m or a number of seconds, or false"
ZONE = "must be the name of a time zone, like Europe/Berlin or UTC"


def settings_in(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = read_settings({"config": str(path)}, environ)
    return settings


def test_expected_names_come_from_the_setting_and_then_from_the_file_each_once(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("# ours\nnas\n\nmac # on the desk\n  build#2\t# a name with a mark\r\nnas\n")
    settings = settings_in(tmp_path, 'expect = ["ada", "nas"]\nexpect_file = "names"\n')
    assert expected_by(settings) == ("ada", "nas", "mac", "build#2")
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
        *((f"blind_after = {value}", f"blind_after must be {BLIND}") for value in ("0", "86401", "true")),
        ('timezone = "europe/berln"', f"timezone {ZONE}; did you mean Europe/Berlin?"),
        *(
            (f'timezone = "{name}"', f"timezone {ZONE}")
            for name in ("Berlin?", "../Berlin", "/etc/localtime", "Europe")
        ),
        ('timezone = ""', "timezone must be a text of one line"),
        ("silences = 5", "silences must be tables, each of which begins with [[silences]]"),
    ],
)
def test_a_mistake_in_a_setting_is_one_line(tmp_path: Path, setting: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings_in(tmp_path, setting)
    (line,) = raised.value.lines
    assert line.startswith(f"{tmp_path}/config.toml:1: {mistake}")


def test_the_policy_of_a_profile_is_a_value(tmp_path: Path) -> None:
    text = 'alert = "  mode:strict   web"\nalert_after = "2m"\nexpect = ["nas"]\n'
    one, other = (policy_for(settings_in(tmp_path, text)) for _ in range(2))
    assert one == other
    assert one.alert is not None
    assert (one.alert.query, one.alert_after, one.expect) == ("mode:strict web", timedelta(minutes=2), ("nas",))


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC"])
def test_a_time_zone_has_a_name(tmp_path: Path, name: str) -> None:
    assert settings_in(tmp_path, f'timezone = "{name}"').timezone == name


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


# The tables `[[silences]]`.

WHOLE = """\
[[silences]]
filter = "os:darwin,win32"
days = "mon-fri"
hours = "17:00-10:00"
[[silences]]
days = "sat-sun"
[profiles.work]
[[profiles.work.silences]]
hours = "9:30-24:00"
"""


def test_a_recurring_silence_has_filter_days_and_hours(tmp_path: Path) -> None:
    held = settings_in(tmp_path, WHOLE)
    assert [*held.silences] == [
        RecurringHours(filter="os:darwin,win32", days=frozenset(range(5)), begin=17 * 60, end=10 * 60),
        RecurringHours(days=frozenset({5, 6})),
        RecurringHours(begin=9 * 60 + 30, end=24 * 60),
    ]
    assert value_text(held.silences) == "os:darwin,win32 mon-fri 17:00-10:00,sat-sun,09:30-24:00"
    assert held.origin("silences") == f"{tmp_path}/config.toml:8"


def test_the_tables_above_the_profiles_hold_alone_for_a_profile_without_tables(tmp_path: Path) -> None:
    held = settings_in(tmp_path, f"{WHOLE}[profiles.home]\n", ENVWATCH_PROFILE="home")
    assert value_text(held.silences) == "os:darwin,win32 mon-fri 17:00-10:00,sat-sun"
    assert held.origin("silences") == f"{tmp_path}/config.toml:1"


def test_a_variable_has_the_tables_as_toml(tmp_path: Path) -> None:
    held = settings_in(tmp_path, WHOLE, ENVWATCH_SILENCES='[{ days = ["mon", "wed-thu"], filter = "os:darwin" }]')
    assert [*held.silences] == [RecurringHours(filter="os:darwin", days=frozenset({0, 2, 3}))]
    with pytest.raises(ConfigError, match="ENVWATCH_SILENCES must be a list of tables"):
        settings_in(tmp_path, "", ENVWATCH_SILENCES="mon-fri")


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ('"mon-fri"', {0, 1, 2, 3, 4}),
        ('"fri-mon"', {4, 5, 6, 0}),
        ('"Sat, sunday"', {5, 6}),
        ('["mon", "wed-thu"]', {0, 2, 3}),
        ('"wed-wed"', {2}),
    ],
)
def test_days_are_words_and_ranges_of_words(tmp_path: Path, written: str, days: set[int]) -> None:
    (table,) = settings_in(tmp_path, f"[[silences]]\ndays = {written}").silences
    assert table.days == days


NO_DAY = "has a word that is no day: write mon, tue, wed, thu, fri, sat, sun, like mon-fri or sat,sun"
ALWAYS = "1: silences needs days or hours that end; `alert` leaves out machines that never page"


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        *(
            (f'days = "{wrong}"', f"2: silences.days {NO_DAY}; did you mean {meant}?")
            for wrong, meant in (
                ("mon-frx", "mon-fri"),
                ("mon-fry", "mon-fri"),
                ("Mom - fry", "mon-fri"),
                ("sat,frday", "friday"),
            )
        ),
        ('days = "mom-x"', f"2: silences.days {NO_DAY}"),
        ("days = 5", "2: silences.days must be days of the week, written like mon-fri or sat,sun"),
        ("days = []", "2: silences.days must be days of the week, written like mon-fri or sat,sun"),
        ('hours = "17-10"', "2: silences.hours must be begin and end, written like 17:00-10:00"),
        ('hours = "17:00-25:00"', "2: silences.hours must be begin and end, written like 17:00-10:00"),
        (
            'hours = "17:00-24:01"',
            (
                "2: silences.hours must end at 24:00 at the latest; hours that end on the next day are written like "
                "17:00-10:00"
            ),
        ),
        (
            'hours = "10:00-10:00"',
            "2: silences.hours must not begin and end at one time: without hours, the whole day is silenced",
        ),
        ('days = "sat"\nhuors = "10:00-11:00"', "3: silences.huors is no setting; did you mean hours?"),
        ('days = "sat"\nfilter = "os:>5"', None),
        ('days = "mon-sun"', ALWAYS),
        ("", ALWAYS),
        (
            'hours = "00:00-24:00"',
            ALWAYS,
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, lines: str, mistake: str | None) -> None:
    path = tmp_path / "config.toml"
    _, found = parse_document(path, f"[[silences]]\n{lines}\n".encode())
    if mistake is not None:
        assert [line.removeprefix(f"{path}:") for line in found] == [mistake]
    else:
        assert len(found) == 1
        assert found[0].startswith(f"{path}:3: silences.filter cannot be used: ")


def test_expected_names_of_a_profile_add_to_those_for_every_profile(tmp_path: Path) -> None:
    text = 'expect = ["nas", "web"]\n[profiles.work]\nexpect = ["db", "web"]\n[profiles.home]\n'
    assert expected_by(settings_in(tmp_path, text, ENVWATCH_PROFILE="work")) == ("nas", "web", "db")
    assert expected_by(settings_in(tmp_path, text, ENVWATCH_PROFILE="home")) == ("nas", "web")


def test_the_mistakes_of_all_tables_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = '[[silences]]\ndays = "x"\nhours = "y"\n[profiles.x]\nsilences = 5\n[profiles.y]\n[[profiles.y.silences]]\n'
    _, found = parse_document(path, text.encode())
    assert [line.removeprefix(f"{path}:").partition(" ")[0] for line in found] == ["2:", "3:", "5:", "7:"]
    assert "profiles.x.silences must be tables, each of which begins with [[silences]]" in found[2]


def test_the_alert_policy_has_the_filters_and_the_zone_of_the_profile(tmp_path: Path) -> None:
    policy = policy_for(settings_in(tmp_path, f'timezone = "Asia/Tokyo"\n{WHOLE}'))
    laptops, everything, _ = policy.recurring
    assert [each.id for each in policy.recurring] == ["silence-1", "silence-2", "silence-3"]
    assert [each.text for each in policy.recurring] == ["os:darwin,win32 mon-fri 17:00-10:00", "sat-sun", "09:30-24:00"]
    mac, server = tracked(metadata={"os": "darwin"}), tracked(metadata={"os": "linux"})
    assert [laptops.covers(each, EMPTY, 0.0) for each in (mac, server)] == [True, False]
    assert everything.covers(server, EMPTY, 0.0)
    assert {each.zone for each in policy.recurring} == {ZoneInfo("Asia/Tokyo")}
    assert policy.zone == ZoneInfo("Asia/Tokyo")
    assert policy_for(settings_in(tmp_path, "")).zone is None
