"""A history's folder: name, deletion, and the findings of `doctor` about histories."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.recording import DAY, life, record

from envwatch.cli.doctor import CheckedMachine, Facts, Problem, check_history
from envwatch.history.inspection import inspected
from envwatch.history.stored import (
    Retention,
    day_paths,
    history_folder,
    history_root,
    profile_and_host,
    size_of,
    tidy,
    utc_day,
)
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.watch.profiles import state_file

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
def test_a_folder_has_a_safe_readable_name_of_its_own(profile: str, host: str) -> None:
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
    assert history_folder(Path("/s"), "work", "api.letta.com") == Path("/s/history/work@api.letta.com")
    assert history_folder(Path("/s"), "a", "127.0.0.1:8283") == Path("/s/history/a@127.0.0.1:8283")


def test_a_day_is_a_day_of_utc_and_no_clock_is_too_wrong() -> None:
    midnight = 1_764_028_800_000
    assert utc_day(WallMs(midnight)) == TODAY
    assert utc_day(WallMs(midnight - 0.5)) == date(2025, 11, 24)
    assert [utc_day(WallMs(wall)) for wall in (1e300, -1e300)] == [date.max, date.min]


def test_days_are_deleted_by_age_with_the_files_next_to_them(tmp_path: Path) -> None:
    old = ["2025-11-10.sqlite", "2025-11-10.sqlite-shm", "2025-11-10.sqlite-wal", "2025-11-10.sqlite.aside"]
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


def test_today_and_later_days_stay_however_large(tmp_path: Path) -> None:
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


def recorded(folder: Path, *days: int) -> list[Path]:
    for day in days:
        writer = FolderWriter(folder, Retention())
        record(writer, life(6, NOW + day * DAY))
        writer.close()
    return day_paths(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return history_root(state_file("state").parent)


def checked(facts: Facts | None = None) -> Problem | None:
    return asyncio.run(check_history(CheckedMachine({}, {}), {} if facts is None else facts))


def test_each_history_has_its_days_its_size_and_its_recording_process(folder: Path) -> None:
    assert checked() is None, "no history is fine"
    recorded(folder / "work@api.letta.com", 0, 1)
    writer = FolderWriter(folder / "home@127.0.0.1:8283", Retention())
    record(writer, life(3))
    home, work = inspected(folder)
    assert (home.days, home.recorder, home.problems) == (1, os.getpid(), ())
    assert (work.days, work.recorder, work.problems) == (2, None, ())
    assert work.bytes == sum(path.stat().st_size for path in day_paths(folder / "work@api.letta.com"))
    facts: Facts = {}
    assert checked(facts) is None
    assert facts["histories"] == [home._asdict(), work._asdict()]
    before = {path: path.read_bytes() for path in folder.rglob("*.sqlite")}
    names = sorted(folder.rglob("*"))
    inspected(folder)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(folder.rglob("*")) == names
    writer.close()
    assert inspected(folder)[0].recorder is None


def test_damaged_days_and_those_set_aside_are_a_warning(folder: Path) -> None:
    first, second, third = recorded(folder / "work@h", 0, 1, 2)
    first.write_bytes(b"garbage" * 10_000)
    second.rename(f"{second}.aside")
    with third.open("r+b") as file:  # a page that no poll needs
        file.seek(16_384)
        file.write(bytes(16_384))
    problem = checked()
    assert problem is not None
    assert problem.status == "warning"
    broken, damaged, aside = problem.summary.split("; ")
    assert broken.startswith(f"work@h: {first.name}: ")
    assert damaged.startswith(f"work@h: {third.name}: ")
    assert aside == f"work@h: {second.name}.aside: set aside"
    assert str(folder) in problem.fix


def test_a_day_that_cannot_be_opened_has_the_advice_as_the_fix_as_recording_does_not_go_on(folder: Path) -> None:
    (path,) = recorded(folder / "work@h", 0)
    path.symlink_to(path.rename(folder / "elsewhere"))
    reason, advice = "It is a link, which is not followed here", "check the owner and the mode of that folder"
    problem = checked()
    assert problem is not None
    assert (problem.status, problem.summary) == ("warning", f"work@h: {path.name}: {reason}")
    assert problem.fix == f"{advice}, or set history = false ({folder})"


def test_an_unreadable_frame_and_a_day_of_another_version_are_a_warning(folder: Path) -> None:
    (path,) = recorded(folder / "work@h", 0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE frames SET data = x'00' WHERE number = 6")
    ((problem,),) = [each.problems for each in inspected(folder)]
    assert problem.startswith(f"{path.name}: ")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    summary = f"work@h: {path.name}: another version of envwatch recorded this day"
    assert (found := checked()) is not None
    assert (found.summary, found.status) == (summary, "warning")
