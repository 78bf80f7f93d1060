"""A history's folder: name, deletion, and the recording process."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.history.stored import (
    Retention,
    day_of,
    history_folder,
    profile_and_host,
    size_of,
    tidy,
)
from envwatch.model.clock import WallMs

TODAY = date(2025, 11, 25)
MIB = 1 << 20


def days(folder: Path, sizes: dict[str, int]) -> None:
    """Make sparse files, which take no room on the disk."""
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=300))
def test_a_folder_has_a_safe_name_of_its_own(profile: str, host: str) -> None:
    folder = history_folder(Path("/state"), profile, host)
    assert folder.parent == Path("/state/history")
    assert folder.name not in {".", ".."}
    assert len(folder.name.encode()) <= 255
    assert folder.name.isascii()
    assert folder.name.isprintable()
    assert "/" not in folder.name
    if len(folder.name) < 200:
        assert profile_and_host(folder) == (profile, host)
    assert history_folder(Path("/state"), profile, f"{host}1") != folder


def test_the_usual_name_is_readable() -> None:
    assert history_folder(Path("/s"), "work", "api.letta.com") == Path("/s/history/work@api.letta.com")
    assert history_folder(Path("/s"), "a", "127.0.0.1:8283") == Path("/s/history/a@127.0.0.1:8283")


def test_a_day_is_that_of_utc_and_no_clock_is_too_wrong() -> None:
    midnight = 1_764_028_800_000
    assert day_of(WallMs(midnight)) == TODAY
    assert day_of(WallMs(midnight - 0.5)) == date(2025, 11, 24)
    assert [day_of(WallMs(wall)) for wall in (1e300, -1e300)] == [date.max, date.min]


def test_days_are_deleted_by_age_with_what_is_beside_them(tmp_path: Path) -> None:
    old = ["2025-11-10.sqlite", "2025-11-10.sqlite-shm", "2025-11-10.sqlite-wal", "2025-11-10.sqlite.damaged"]
    kept = ["2025-11-11.sqlite", "2025-11-11.sqlite-wal", "2025-11-25.sqlite", "2025-11-27.sqlite", "2025-13-01.sqlite"]
    others = ["2025-11-10.txt", "lock", "x2025-11-10.sqlite"]
    days(tmp_path, dict.fromkeys([*old, *kept, *others], 10))
    tidy(tmp_path, Retention(history_days=14), TODAY)
    assert names(tmp_path) == sorted([*kept, *others])


@pytest.mark.parametrize(("excess", "left"), [(0, 4), (1, 3)])
def test_the_oldest_days_are_deleted_where_all_together_are_too_large(tmp_path: Path, excess: int, left: int) -> None:
    sizes = {"2025-11-22.sqlite": MIB, "2025-11-23.sqlite": MIB, "2025-11-23.sqlite-wal": MIB, "2025-11-24.sqlite": MIB}
    days(tmp_path, sizes | {"2025-11-22.sqlite": MIB + excess})
    assert size_of(tmp_path) == 4 * MIB + excess
    tidy(tmp_path, Retention(history_mb=4), TODAY)
    assert names(tmp_path) == sorted(sizes)[-left:]


def test_retention_goes_on_past_an_undeletable_entry(tmp_path: Path) -> None:
    """By age and by size; the size of the entry still counts."""
    stuck = tmp_path / "2025-01-02.sqlite"
    (stuck / "content").mkdir(parents=True)
    size = stuck.stat().st_size
    days(tmp_path, {"2025-11-01.sqlite": 1, "2025-11-23.sqlite": size, "2025-11-24.sqlite": MIB - size})
    assert tidy(tmp_path, Retention(history_days=14, history_mb=1), TODAY).keys() == {stuck}
    assert names(tmp_path) == [stuck.name, "2025-11-24.sqlite"]


def test_today_and_what_follows_stay_however_large(tmp_path: Path) -> None:
    days(tmp_path, {"2025-11-24.sqlite": 1, "2025-11-25.sqlite": 3 * MIB, "2025-11-26.sqlite": 3 * MIB})
    tidy(tmp_path, Retention(history_days=1, history_mb=1), TODAY)
    assert names(tmp_path) == ["2025-11-25.sqlite", "2025-11-26.sqlite"]


def test_gigabytes_of_old_days_are_deleted_without_being_read(tmp_path: Path) -> None:
    days(tmp_path, {f"2025-10-{day:02}.sqlite": 2 << 30 for day in range(1, 31)} | {"2025-11-25.sqlite": 1})
    before = _bytes_read()
    tidy(tmp_path, Retention(), TODAY)
    assert names(tmp_path) == ["2025-11-25.sqlite"]
    assert _bytes_read() - before < MIB


def _bytes_read() -> int:
    counts = Path("/proc/self/io")
    return int(counts.read_text().split("rchar: ")[1].split()[0]) if counts.exists() else 0
