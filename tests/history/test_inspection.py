"""Findings of `doctor` about histories."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from support.recording import DAY, life, record

from envwatch.cli.doctor.check import CheckStatus
from envwatch.cli.doctor.machine import MachineContext, check_history
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


@pytest.mark.usefixtures("folder")
def test_no_history_is_fine() -> None:
    finding = asyncio.run(check_history(MachineContext({}, {})))
    assert (finding.status, finding.summary) == (CheckStatus.OK, "no history yet")


def test_each_history_has_its_days_its_size_and_the_process_that_records_it(folder: Path) -> None:
    recorded(folder / "work@api.letta.com", 0, 1)
    writer = FolderWriter(folder / "home@127.0.0.1:8283", Retention())
    record(writer, life(3))
    home, work = inspected(folder)
    assert (home.days, home.recorder, home.problems, home.newer) == (1, os.getpid(), (), ())
    assert (work.days, work.recorder, work.problems, work.newer) == (2, None, (), ())
    assert work.bytes == sum(path.stat().st_size for path in day_paths(folder / "work@api.letta.com"))
    finding = asyncio.run(check_history(MachineContext({}, {})))
    size_of_home, size_of_work = (f"{each.bytes / (1 << 20):.1f} MB" for each in (home, work))
    assert finding.status is CheckStatus.OK
    assert finding.summary == (
        f"home@127.0.0.1:8283: 1 day, {size_of_home}, recorded by process {os.getpid()}; "
        f"work@api.letta.com: 2 days, {size_of_work}"
    )
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
    finding = asyncio.run(check_history(MachineContext({}, {})))
    assert finding.status is CheckStatus.WARNING
    broken, damaged, aside = finding.summary.split("; ")
    assert broken.startswith(f"work@h: {first.name}: ")
    assert damaged.startswith(f"work@h: {third.name}: ")
    assert aside == f"work@h: {second.name}.damaged: set aside"
    assert str(folder) in finding.fix


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
    finding = asyncio.run(check_history(MachineContext({}, {})))
    assert (finding.status, finding.summary) == (CheckStatus.WARNING, f"recorded by a newer envwatch: {path.name}")
    assert finding.fix.startswith("update this envwatch")
