"""The tables `[[quiet]]`: meaning, scope, all mistakes together, and the way into the alert policy."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from support.tracked_environments import tracked

from envwatch.config.describe import value_text
from envwatch.config.schema import document_of
from envwatch.config.settings import Settings, all_settings_of
from envwatch.config.values import ConfigError
from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.model.text import EMPTY
from envwatch.watch.profiles import policy_for

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """\
[[quiet]]
filter = "os:darwin,win32"
days = "mon-fri"
hours = "17:00-10:00"
[[quiet]]
days = "sat-sun"
[profiles.work]
[[profiles.work.quiet]]
hours = "9:30-24:00"
"""


def settings(folder: Path, text: str, environ: dict[str, str] | None = None, **options: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (found,) = all_settings_of({"config": str(path)} | options, environ or {})
    return found


def test_a_recurring_silence_has_filter_days_and_hours(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE)
    assert [*held.quiet] == [
        RecurringHours(filter="os:darwin,win32", days=frozenset(range(5)), begin=17 * 60, end=10 * 60),
        RecurringHours(days=frozenset({5, 6})),
    ]
    assert value_text(held.quiet) == "os:darwin,win32 mon-fri 17:00-10:00,sat-sun"
    assert held.origin("quiet") == f"{tmp_path}/config.toml:1"


def test_the_tables_of_a_profile_replace_the_tables_above_the_profiles(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE, profile="work")
    assert [*held.quiet] == [RecurringHours(begin=9 * 60 + 30)]
    assert held.origin("quiet") == f"{tmp_path}/config.toml:8"


def test_a_variable_has_the_tables_as_toml(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE, {"ENVWATCH_QUIET": '[{ days = ["mon", "wed-thu"], filter = "os:darwin" }]'})
    assert [*held.quiet] == [RecurringHours(filter="os:darwin", days=frozenset({0, 2, 3}))]
    with pytest.raises(ConfigError, match="ENVWATCH_QUIET must be a list of tables"):
        settings(tmp_path, "", {"ENVWATCH_QUIET": "mon-fri"})


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
    (table,) = settings(tmp_path, f"[[quiet]]\ndays = {written}").quiet
    assert table.days == days


ALWAYS = "1: quiet needs days or hours that end; `alert` leaves out environments that never need anybody"


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        (
            'days = "mon-frx"',
            (
                "2: quiet.days has a word that is no day: write mon, tue, wed, thu, fri, sat, sun, like mon-fri or "
                "sat,sun; did you mean fri?"
            ),
        ),
        ("days = 5", "2: quiet.days must be days of the week, written like mon-fri or sat,sun"),
        ("days = []", "2: quiet.days must be days of the week, written like mon-fri or sat,sun"),
        ('hours = "17-10"', "2: quiet.hours must be begin and end, written like 17:00-10:00"),
        ('hours = "17:00-25:00"', "2: quiet.hours must be begin and end, written like 17:00-10:00"),
        (
            'hours = "17:00-24:01"',
            (
                "2: quiet.hours must end at 24:00 at the latest; hours that end on the next day are written like "
                "17:00-10:00"
            ),
        ),
        (
            'hours = "10:00-10:00"',
            "2: quiet.hours must not begin and end at one time: without hours, the whole day is silenced",
        ),
        ('days = "sat"\nhuors = "10:00-11:00"', "3: quiet.huors is no setting; did you mean hours?"),
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
    _, found = document_of(path, f"[[quiet]]\n{lines}\n".encode())
    if mistake is not None:
        assert [line.removeprefix(f"{path}:") for line in found] == [mistake]
    else:
        assert len(found) == 1
        assert found[0].startswith(f"{path}:3: quiet.filter cannot be used: ")


def test_the_mistakes_of_all_tables_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = '[[quiet]]\ndays = "x"\nhours = "y"\n[profiles.work]\nquiet = 5\n[profiles.home]\n[[profiles.home.quiet]]\n'
    _, found = document_of(path, text.encode())
    assert [line.removeprefix(f"{path}:").partition(" ")[0] for line in found] == ["2:", "3:", "5:", "7:"]
    assert "profiles.work.quiet must be tables, each of which begins with [[quiet]]" in found[2]


def test_the_alert_policy_has_the_filters_and_the_zone_of_the_profile(tmp_path: Path) -> None:
    policy = policy_for(settings(tmp_path, f'timezone = "Asia/Tokyo"\n{WHOLE}'))
    laptops, everything = policy.silences
    assert [each.id for each in policy.silences] == ["quiet-1", "quiet-2"]
    assert [each.text for each in policy.silences] == ["os:darwin,win32 mon-fri 17:00-10:00", "sat-sun"]
    mac, server = tracked(metadata={"os": "darwin"}), tracked(metadata={"os": "linux"})
    assert [laptops.covers(each, EMPTY, 0.0) for each in (mac, server)] == [True, False]
    assert everything.covers(server, EMPTY, 0.0)
    assert {each.zone for each in policy.silences} == {ZoneInfo("Asia/Tokyo")}
    assert policy.zone == ZoneInfo("Asia/Tokyo")
    assert policy_for(settings(tmp_path, "")).zone is None
