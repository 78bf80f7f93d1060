"""The file of `envwatch metrics`: failing writes, and conditions of a write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, failed, listed, reading
from support.policies import soon

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.commands.metrics import Textfile, change_test
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor, MonitorChanges
from envwatch.model.limits import Limits
from envwatch.watch.loop import MonitorUpdate

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.model.outcome import Outcome


def test_where_it_cannot_be_written_at_all_the_command_ends(tmp_path: Path) -> None:
    with pytest.raises(StopError) as stopped:
        Textfile(str(tmp_path / "missing" / "a.prom")).write(b"x")
    assert stopped.value.code is Exit.FAILED
    assert str(stopped.value).endswith("a.prom: No such file or directory")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StopError) as stopped:
        Textfile(str(tmp_path))
    assert stopped.value.code is Exit.USAGE


def test_when_it_cannot_be_written_any_more_that_is_said_once_and_again_when_it_can(tmp_path: Path) -> None:
    folder, lines = tmp_path / "folder", list[str]()
    folder.mkdir()
    file = Textfile(str(folder / "a.prom"))
    file.warn = lines.append
    file.write(b"first")
    folder.rename(tmp_path / "away")
    file.write(b"second")
    file.write(b"third")
    assert [line.partition(": ")[2] for line in lines] == [
        "No such file or directory; it is removed until it can be written again"
    ]
    folder.mkdir()
    file.write(b"fourth")
    assert lines[1:] == [f"{folder / 'a.prom'} is written again"]
    assert (folder / "a.prom").read_bytes() == b"fourth"


def test_values_that_cannot_be_replaced_do_not_stay(tmp_path: Path) -> None:
    file, path = Textfile(str(tmp_path / "a.prom")), tmp_path / "a.prom"
    file.warn = lambda _line: None
    file.write(b"first")
    (tmp_path / f".a.prom.{os.getpid()}.new").mkdir()  # blocks the next version
    file.write(b"second")
    assert not path.exists()


def test_once_closed_it_is_gone_and_a_thread_that_comes_late_writes_nothing(tmp_path: Path) -> None:
    file = Textfile(str(tmp_path / "a.prom"))
    file.write(b"x")
    file.close()
    file.write(b"late")
    assert not (tmp_path / "a.prom").exists()


def update_of(
    monitor: Monitor, at: float, outcome: Outcome | None = None, changes: MonitorChanges | None = None
) -> MonitorUpdate:
    profile = None if outcome is None else NO_PROFILE
    changes = (changes or MonitorChanges(reading(at)))._replace(now=reading(at), profile=profile, outcome=outcome)
    return MonitorUpdate(monitor, monitor, changes)


def test_it_is_written_after_the_first_update_after_each_outcome_and_when_it_becomes_blind() -> None:
    is_change, new = change_test(), Monitor.create({NO_PROFILE: Limits()})
    outcome = listed(beating(2))
    seen, _ = new.apply(NO_PROFILE, outcome, reading())
    assert is_change(update_of(new, NOW))
    assert not is_change(update_of(new, NOW + 1_000))
    assert is_change(update_of(seen, NOW + 1_000, outcome))
    assert not is_change(update_of(seen, NOW + 59_000))
    assert is_change(update_of(seen, NOW + 59_000, failed()))
    assert is_change(update_of(seen, NOW + 61_000)), "from then on it is blind"
    assert not is_change(update_of(seen, NOW + 62_000))


def test_it_is_written_when_an_incident_opens() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    monitor, _ = monitor.apply(NO_PROFILE, listed(beating(12)), reading())
    down = [*beating(12, connectionId=None)]
    monitor, _ = monitor.apply(NO_PROFILE, listed(down, NOW + 5_000), reading(NOW + 5_000))
    is_change = change_test()
    is_change(update_of(monitor, NOW + 5_000))
    monitor, opening = monitor.tick(reading(NOW + 16_000))
    assert opening.opened
    assert is_change(update_of(monitor, NOW + 16_000, changes=opening))
