"""Which texts are versions, how they are ordered, and what is behind."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watches import watch

from envwatch.text import Clean
from envwatch.versions import is_behind, is_version, newest_version, version_key

ORDERED = [
    "0.9",
    "0.9.1",
    "0.31.2",
    "0.34.9",
    "0.34.12-rc1",
    "0.34.12-rc2",
    "0.34.12-rc10",
    "0.34.12",
    "1.0-beta",
    "1.0",
    "10.0",
]


def test_versions_sort_as_versions() -> None:
    mixed = ORDERED[::-1]
    assert sorted(mixed, key=version_key) == ORDERED


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ORDERED)))
def test_each_version_is_below_the_next(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
    assert version_key(f"v{lower}") == version_key(lower)


@given(st.lists(st.text()))
def test_any_texts_can_be_compared_as_versions(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_key)
    assert all(version_key(lower) <= version_key(higher) for lower, higher in pairwise(ordered))


def test_the_newest_version_is_that_of_what_is_up() -> None:
    rows = [watch(metadata={"lettaCodeVersion": version}) for version in ("0.9.0", "0.34.12", None, "0.34.9")]
    down = watch(connectionId=None, metadata={"lettaCodeVersion": "0.35.0"})
    assert newest_version([*rows, down]) == "0.34.12"
    assert newest_version([down]) is None
    assert newest_version([]) is None


@pytest.mark.parametrize("text", ["nightly", "20261124", "0.35.0 or so", ""])
def test_what_is_no_version_is_not_the_newest(text: str) -> None:
    rows = [watch(metadata={"lettaCodeVersion": version}) for version in (text, "0.34.9")]
    assert newest_version(rows) == "0.34.9"


@pytest.mark.parametrize(
    ("version", "is_so"),
    [("0.34.11", True), ("0.34.12-rc1", True), ("0.34.12", False), ("v0.34.12+5", False), ("0.35", False)],
)
def test_what_is_older_than_the_newest_is_behind(version: str, *, is_so: bool) -> None:
    assert is_behind(Clean(version), Clean("0.34.12")) == is_so


@pytest.mark.parametrize("text", [None, "", "nightly", "-1"])
def test_what_is_no_version_is_not_behind(text: str | None) -> None:
    assert not is_behind(None if text is None else Clean(text), Clean("0.34.12"))
    assert not is_behind(Clean("0.34.12"), None if text is None else Clean(text))


@given(st.text("v0.1-+rc", max_size=8))
def test_a_release_is_a_version_with_any_suffix(text: str) -> None:
    if is_version(text):
        release = text.partition("-")[0].partition("+")[0]
        assert is_version(f"{release}-rc1")
        assert version_key(f"{release}-rc1") < version_key(release) == version_key(f"{release}+rc1")
