"""Filters of the file that find no row: which are named, when, and after which listings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tracked_environments import tracked

from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.config.hooks import HookSettings
from envwatch.config.settings import Settings
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import clean
from envwatch.watch.file_filters import FileFilters

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment

A, B = clean("a"), clean("b")


def rows(*names: str) -> list[TrackedEnvironment]:
    return [tracked(connectionName=name, id=f"env-{name}") for name in names]


def lines(filters: FileFilters, **found: list[TrackedEnvironment]) -> list[str]:
    return [str(line) for line in filters.lines({clean(profile): each for profile, each in found.items()})]


def test_each_filter_without_a_row_is_named_once_with_the_wider_filter() -> None:
    settings = Settings(
        alert="name:web",
        hooks=(
            HookSettings(name=clean("pager"), filter="name:web-1"),
            HookSettings(name=clean("chat"), filter="name:box os:linux"),
        ),
        silences=(RecurringHours(filter="name:mac-*"),),
    )
    filters = FileFilters({NO_PROFILE: settings})
    fleet = {NO_PROFILE: rows("web-1", "web-2")}

    assert filters.lines({}) == [], "nothing is listed yet"
    assert filters.lines(fleet) == [
        "alert: name:web finds 0; name:*web* finds 2",
        "hook chat: name:box os:linux finds 0 of 2",
        "silence-1: name:mac-* finds 0 of 2",
    ]
    assert filters.lines(fleet) == []


@pytest.mark.parametrize("query", ["status:off", "beat:>1h", "mode:unrestricted", "version:0.99", "permanent:yes"])
def test_a_filter_that_waits_for_a_state_is_not_named(query: str) -> None:
    hook = HookSettings(name=clean("wait"), filter=query)
    assert FileFilters({NO_PROFILE: Settings(hooks=(hook,))}).lines({NO_PROFILE: rows("web-1")}) == []


def test_a_mistyped_mode_is_named_with_the_mode_that_is_meant() -> None:
    settings = Settings(alert="mode:unrestrictd")
    assert FileFilters({NO_PROFILE: settings}).lines({NO_PROFILE: rows("web-1")}) == [
        "alert: mode:unrestrictd finds 0; did you mean mode:unrestricted?"
    ]


def test_a_filter_of_several_profiles_is_for_the_rows_of_all() -> None:
    def filters() -> FileFilters:
        return FileFilters({A: Settings(profile="a", alert="name:web-*"), B: Settings(profile="b", alert="name:web-*")})

    assert lines(waiting := filters(), a=rows("box-1")) == []
    assert lines(waiting, a=rows("box-1"), b=rows("web-1")) == []
    assert lines(filters(), a=rows("box-1"), b=rows("box-2")) == ["alert: name:web-* finds 0 of 2"]


def test_a_filter_for_the_only_profile_finds_its_rows_by_the_profile() -> None:
    settings = Settings(profile="a", alert="profile:a")
    assert FileFilters({NO_PROFILE: settings}).lines({NO_PROFILE: rows("web-1")}) == []


@pytest.mark.parametrize(
    "settings",
    [
        Settings(alert="name:web", online_only=True),
        Settings(alert="name:web", user="ann", origins={"user": clean("--user")}),
    ],
)
def test_a_listing_without_some_rows_proves_nothing(settings: Settings) -> None:
    assert FileFilters({NO_PROFILE: settings}).lines({NO_PROFILE: rows("box-1")}) == []
