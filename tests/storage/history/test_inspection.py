"""What `doctor` finds out about histories."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from support.builders import NOW
from support.recording import DAY, life, record

from envwatch.cli.doctor import judgements
from envwatch.cli.doctor.finding import CheckStatus
from envwatch.storage.history.folder import Retention, day_paths
from envwatch.storage.history.inspection import inspected
from envwatch.storage.history.writer import FolderWriter

if TYPE_CHECKING:
    from pathlib import Path


def recorded(folder: Path, *days: int) -> list[Path]:
    for day in days:
        writer = FolderWriter(folder, Retention())
        record(writer, life(6, NOW + day * DAY))
        writer.close()
    return day_paths(folder)


def test_no_history_is_fine(tmp_path: Path) -> None:
    finding = judgements.of_history(tmp_path / "history", inspected(tmp_path / "history"))
    assert (finding.status, finding.summary) == (CheckStatus.OK, "none is kept yet")


def test_each_history_has_its_days_its_size_and_the_process_that_records_it(tmp_path: Path) -> None:
    recorded(tmp_path / "work@api.letta.com", 0, 1)
    writer = FolderWriter(tmp_path / "home@127.0.0.1:8283", Retention())
    record(writer, life(3))
    home, work = inspected(tmp_path)
    assert (home.days, home.recorder, home.problems, home.newer) == (1, os.getpid(), (), ())
    assert (work.days, work.recorder, work.problems, work.newer) == (2, None, (), ())
    assert work.bytes == sum(path.stat().st_size for path in day_paths(tmp_path / "work@api.letta.com"))
    finding = judgements.of_history(tmp_path, [home, work._replace(bytes=3 << 20)])
    size = f"{home.bytes / (1 << 20):.1f} MB"
    assert finding.status is CheckStatus.OK
    assert finding.summary == (
        f"home@127.0.0.1:8283: 1 day, {size}, recorded by process {os.getpid()}; work@api.letta.com: 2 days, 3.0 MB"
    )
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.sqlite")}
    names = sorted(tmp_path.rglob("*"))
    inspected(tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(tmp_path.rglob("*")) == names
    writer.close()
    assert inspected(tmp_path)[0].recorder is None


def test_damaged_days_and_those_set_aside_are_a_warning(tmp_path: Path) -> None:
    first, second, third = recorded(tmp_path / "work@h", 0, 1, 2)
    first.write_bytes(b"garbage" * 10_000)
    second.rename(f"{second}.damaged")
    with third.open("r+b") as file:  # a page that no poll needs
        file.seek(16_384)
        file.write(bytes(16_384))
    finding = judgements.of_history(tmp_path, inspected(tmp_path))
    assert finding.status is CheckStatus.WARNING
    broken, damaged, aside = finding.summary.split("; ")
    assert broken.startswith(f"work@h: {first.name}: ")
    assert damaged.startswith(f"work@h: {third.name}: ")
    assert aside == f"work@h: {second.name}.damaged: set aside"
    assert str(tmp_path) in finding.fix


def test_a_frame_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    (path,) = recorded(tmp_path / "work@h", 0)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE frames SET data = x'00' WHERE number = 6")
    connection.close()
    ((problem,),) = [each.problems for each in inspected(tmp_path)]
    assert problem.startswith(f"{path.name}: ")


def test_days_of_a_newer_version_are_a_warning_with_what_to_do(tmp_path: Path) -> None:
    (path,) = recorded(tmp_path / "work@h", 0)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    finding = judgements.of_history(tmp_path, inspected(tmp_path))
    assert (finding.status, finding.summary) == (CheckStatus.WARNING, f"recorded by a newer envwatch: {path.name}")
    assert finding.fix.startswith("update this envwatch")
