"""Versions: recognition, order, and outdated machines."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, listed
from support.tracked_environments import tracked

from envwatch.fleet.profile_state import ProfileState
from envwatch.model.text import clean
from envwatch.model.versions import end_of_range, is_behind, is_mark_useful, is_version, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText

ORDERED = [
    *("0.9", "0.9.1", "0.31.2", "0.34-1", "0.34", "0.34.x", "0.34.9"),
    *("0.34.12-rc1", "0.34.12-rc2", "0.34.12-rc10", "0.34.12"),
    *("1.0-1", "1.0-alpha", "1.0-alpha.1", "1.0-alpha.beta", "1.0-beta", "1.0-beta.2", "1.0-beta.11", "1.0", "10.0"),
]


def test_the_first_eighteen_digits_of_a_number_count_and_words_stand_above_numbers() -> None:
    digits = "1" * 17
    assert version_key(f"1.{digits}2") < version_key(f"1.{digits}3")
    assert version_key(f"1.{digits}25") == version_key(f"1.{digits}26")
    assert version_key(f"1-{'9' * 18}") < version_key("1-a")
    assert version_key(f"1-{'9' * 5_000}") < version_key("1-a")


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ORDERED)))
def test_each_version_is_below_the_next(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
    assert version_key(f"v{lower}") == version_key(lower)


@pytest.mark.parametrize(
    ("one", "other"), [("0.34", "0.34.0"), ("1", "v1.0.0"), ("0.34-rc1", "0.34.0-rc1"), ("0", "0.0")]
)
def test_zeros_at_the_end_of_a_release_count_for_nothing(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)
    assert not is_behind(clean(one), clean(other))
    assert not is_behind(clean(other), clean(one))
    assert version_key(one) < version_key("1.0.1")


@given(st.lists(st.text()))
def test_any_texts_can_be_compared_as_versions(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_key)
    assert all(version_key(lower) <= version_key(higher) for lower, higher in pairwise(ordered))


def running(*versions: str | None) -> list[TrackedEnvironment]:
    return [
        tracked(id=f"env-{n}", deviceId=f"device-{n}", metadata={"lettaCodeVersion": version})
        for n, version in enumerate(versions)
    ]


def newest_version(environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    """The newest version of a profile with these environments."""
    profile_state, _ = ProfileState().apply(listed([each.environment for each in environments], NOW))
    return profile_state.newest


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        ([], None),
        ([None], None),
        (["0.34.12"], "0.34.12"),
        (["0.33.0", "0.34.12"], "0.34.12"),
        (["0.33.0", "0.34.12", "0.34.12"], "0.34.12"),
        (["0.33.0", "0.33.0", "0.34.12"], "0.33.0"),
        (["0.30.0", "0.30.0", "0.33.0", "0.34.12"], "0.33.0"),
        (["0.33.0", "0.34.12", "0.34.12", "999.0"], "0.34.12"),
        (["0.33.0", "0.34.12", "0.34.12", "0.35.0-dev.3"], "0.34.12"),
        (["0.34.12"] * 9 + ["0.35.0"], "0.34.12"),
        (["0.34.12"] * 9 + ["0.35.0"] * 2, "0.35.0"),
        *((["0.9.0", "0.9.0", None, text, text], "0.9.0") for text in ("nightly", "20261124", "0.35.0 or so", "")),
    ],
)
def test_the_newest_version_has_been_reached_by_two_machines(versions: list[str | None], newest: str) -> None:
    assert newest_version(running(*versions)) == newest
    assert newest_version(running(*versions[::-1])) == newest


@pytest.mark.parametrize(
    ("behind", "current", "others", "is_useful"),
    [(0, 1, 0, True), (2, 3, 0, True), (2, 2, 0, False), (3, 2, 0, False), (2, 2, 5, False), (0, 0, 0, False)],
)
def test_old_versions_are_marked_only_if_fewer_than_half_of_the_rows_are_behind(
    behind: int, current: int, others: int, *, is_useful: bool
) -> None:
    versions = {clean("0.33.7"): behind, clean("0.34.12"): current, clean("custom"): others, None: others}
    assert is_mark_useful(versions, clean("0.34.12")) is is_useful


def test_two_listeners_on_one_machine_count_as_one_and_listeners_down_as_none() -> None:
    twins = [tracked(id=f"env-{n}", deviceId="same", metadata={"lettaCodeVersion": "999.0"}) for n in (7, 8)]
    down = [tracked(connectionId=None, deviceId=f"d-{n}", metadata={"lettaCodeVersion": "0.35.0"}) for n in (1, 2, 3)]
    assert newest_version([*running("0.34.9", "0.34.12", "0.34.12"), *twins, *down]) == "0.34.12"
    assert newest_version(down) is None


@pytest.mark.parametrize(
    ("version", "is_so"),
    [
        *(("0.34.11", True), ("0.34.12-rc1", True), ("0.34.12", False), ("v0.34.12+5", False), ("0.35", False)),
        *((None, False), ("", False), ("nightly", False), ("-1", False)),
    ],
)
def test_only_an_older_version_is_behind_the_newest(version: str | None, *, is_so: bool) -> None:
    one = None if version is None else clean(version)
    assert is_behind(one, clean("0.34.12")) == is_so
    assert one is None or is_version(one) or not is_behind(clean("0.34.12"), one)
    assert not is_behind(clean("0.34.12"), None)


@given(st.text("v0.1-+rc", max_size=8))
def test_a_release_is_a_version_with_any_suffix(text: str) -> None:
    if is_version(text):
        release = text.partition("-")[0].partition("+")[0]
        assert is_version(f"{release}-rc1")
        assert version_key(f"{release}-rc1") < version_key(release) == version_key(f"{release}+rc1")


@pytest.mark.parametrize(
    ("version", "within", "above"),
    [
        ("0.34", ["0.34-rc1", "0.34", "0.34.0", "0.34.12-rc1", "0.34.12", "0.34.x"], ["0.35-rc1", "0.35", "1"]),
        ("v1", ["1.0-alpha", "1", "1.99"], ["2-alpha", "10"]),
        ("1.0-rc1", ["1.0-rc", "1.0-rc1"], ["1.0-rc2", "1.0", "1.0.1"]),
    ],
)
def test_a_range_ends_above_every_version_in_the_range(version: str, within: list[str], above: list[str]) -> None:
    assert all(version_key(each) < end_of_range(version) for each in within)
    assert all(version_key(each) > end_of_range(version) for each in above)
