"""Findings of `doctor` about histories."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from support.recording import DAY, life, record

from envwatch.cli.doctor import Facts, Machine, Problem, check_history
from envwatch.history.inspection import inspected
from envwatch.history.stored import Retention, day_paths, history_root
from envwatch.history.writer import FolderWriter
from envwatch.watch.profiles import state_file

if TYPE_CHECKING:
    from pathlib import Path


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
    return asyncio.run(check_history(Machine({}, {}), {} if facts is None else facts))


@pytest.mark.usefixtures("folder")
def test_no_history_is_fine() -> None:
    assert checked() is None


def test_each_history_has_its_days_its_size_and_the_process_that_records_it(folder: Path) -> None:
    recorded(folder / "work@api.letta.com", 0, 1)
    writer = FolderWriter(folder / "home@127.0.0.1:8283", Retention())
    record(writer, life(3))
    home, work = inspected(folder)
    assert (home.days, home.recorder, home.problems, home.newer) == (1, os.getpid(), (), ())
    assert (work.days, work.recorder, work.problems, work.newer) == (2, None, (), ())
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
    second.rename(f"{second}.damaged")
    with third.open("r+b") as file:  # a page that no poll needs
        file.seek(16_384)
        file.write(bytes(16_384))
    problem = checked()
    assert problem is not None
    assert problem.status == "warning"
    broken, damaged, aside = problem.summary.split("; ")
    assert broken.startswith(f"work@h: {first.name}: ")
    assert damaged.startswith(f"work@h: {third.name}: ")
    assert aside == f"work@h: {second.name}.damaged: set aside"
    assert str(folder) in problem.fix


def test_a_frame_that_cannot_be_read_is_found(folder: Path) -> None:
    (path,) = recorded(folder / "work@h", 0)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE frames SET data = x'00' WHERE number = 6")
    connection.close()
    ((problem,),) = [each.problems for each in inspected(folder)]
    assert problem.startswith(f"{path.name}: ")


def test_days_of_a_newer_version_are_a_warning_with_what_to_do(folder: Path) -> None:
    (path,) = recorded(folder / "work@h", 0)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    fix = "update this envwatch: it cannot show these days, nor record into these days"
    assert checked() == Problem(f"recorded by a newer envwatch: {path.name}", fix, "warning")
