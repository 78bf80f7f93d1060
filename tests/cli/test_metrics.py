"""`envwatch metrics`: the series of one poll, the file and its writes, endings.

`tests/serve` has the series.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import NOW, beating, failed, listed, reading, wire_row, wire_rows
from support.faulty_server import KEY, Faulty, faulty_server, says
from support.policies import soon
from support.pty_terminal import environment
from support.series import Series, complaints_of_promtool, needs_promtool

from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.cli.arguments import Exit, StopError, options_in
from envwatch.cli.commands import metrics
from envwatch.cli.commands.metrics import Textfile, change_test
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.watch.loop import MonitorUpdate
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.in_process import Ended, Envwatch

    from envwatch.model.outcome import Outcome

ENVWATCH = (sys.executable, "-m", "envwatch", "metrics")
OFF = {"connectionId": None, "lastHeartbeat": None}
UP = "envwatch_environment_up"


@contextmanager
def running(
    server: Faulty, home: Path, *arguments: str, command: tuple[str, ...] = ENVWATCH
) -> Iterator[programs.Program]:
    environ = environment(home, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url)
    with open(os.devnull, "r+b") as nothing, (home / "errors").open("wb") as errors:  # noqa: PTH123
        streams = (nothing.fileno(), nothing.fileno(), errors.fileno())
        process = programs.start([*command, *arguments], environ, streams, folder=home)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def written(path: Path) -> Series:
    try:
        return Series.read(path.read_bytes())
    except FileNotFoundError:
        return Series({})


def names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder))  # noqa: PTH208  hidden ones too


async def series_when(path: Path, name: str, value: float | None, **labels: str) -> Series:
    series = Series({})
    deadline = time.monotonic() + programs.TIMEOUT_S
    while time.monotonic() < deadline:
        series = written(path)
        if series.value(name, **labels) == value:
            return series
        await asyncio.sleep(0.05)
    pytest.fail(f"{name} never was {value}: {series.samples}")


def fresh(count: int, down: Mapping[str, object] = OFF) -> list[dict[str, object]]:
    beating = {"lastHeartbeat": time.time() * 1000}
    return [wire_row("env-1", **down), *(row | beating for row in wire_rows(count)[1:])]


# One poll, in the test's process.


def series_of(ended: Ended) -> Series:
    return Series.read(ended.out.encode())


@needs_promtool
def test_one_poll_goes_to_standard_output(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = fresh(3)
    ended = envwatch("metrics")
    assert (ended.code, ended.err) == (Exit.FINE, "")
    assert complaints_of_promtool(ended.out.encode()) == ""
    series = series_of(ended)
    assert series.by_id(UP) == {"env-1": 0, "env-2": 1, "env-3": 1}
    assert series.value("envwatch_polls_total", profile="default", result="success") == 1


def test_what_the_dashboard_has_acknowledged_does_not_alert(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = fresh(2, OFF | {"lastSeenAt": time.time() * 1000})
    assert series_of(envwatch("metrics")).value("envwatch_machines_paging") == 1
    key = (clean(faulty.url.removeprefix("http://")), clean("env-1"))
    merge(
        envwatch.home / "envwatch" / "acknowledged.json", ACKNOWLEDGEMENTS, {key: Ack(time.time() * 1000, clean("x"))}
    )
    assert series_of(envwatch("metrics")).value("envwatch_machines_paging") == 0


def test_only_the_command_line_leaves_out_environments(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = fresh(5)
    everything = series_of(envwatch("metrics", ENVWATCH_ONLINE_ONLY="true", ENVWATCH_FILTER="name:none"))
    assert everything.value("envwatch_environments", state="offline") == 1
    filtered = series_of(envwatch("metrics", "--filter", "status:online"))
    assert filtered.by_id(UP) == {f"env-{n}": 1 for n in (2, 3, 4, 5)}
    assert filtered.value("envwatch_environments", state="offline") == 0
    limited = series_of(envwatch("metrics", "--largest", "2"))
    assert len(limited.by_id(UP)) == 2
    assert limited.value("envwatch_environments", state="online") == 4
    assert limited.value("envwatch_environments_omitted") == 3
    envwatch("metrics", "--online-only")
    assert faulty.seen[-1].query["onlineOnly"] == "true"


@pytest.mark.parametrize(
    ("status", "code", "result"), [(500, Exit.UNREACHABLE, "server_error"), (401, Exit.AUTHENTICATION, "key_refused")]
)
def test_a_failed_poll_is_a_series_a_line_and_an_exit_code(
    envwatch: Envwatch, faulty: Faulty, status: int, code: Exit, result: str
) -> None:
    faulty.break_every_page(says(status, f'{{"message": "not for {KEY}"}}'))
    path = envwatch.home / "a.prom"
    ended = envwatch("metrics", "--once", "--textfile", str(path))
    assert ended.code == code
    assert ended.line
    assert KEY not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "everybody may read it"
    series = Series.read(path.read_bytes())
    assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
    assert series.value("envwatch_polls_total", result=result) == 1
    assert series.of_environments == set()


def test_what_is_no_file_is_refused_before_the_first_request(envwatch: Envwatch, faulty: Faulty) -> None:
    ended = envwatch("metrics", "--textfile=/dev/null")
    assert (ended.code, ended.line) == (Exit.USAGE, "--textfile /dev/null: It is no regular file")
    assert faulty.seen == []


def test_without_its_package_one_line_names_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(StopError, match=r"such as `uv tool install 'envwatch\[metrics,apprise\]'`$") as stopped:
        metrics.run(options_in(["metrics"]))
    assert stopped.value.code is Exit.USAGE


def test_a_file_without_a_folder_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(StopError) as stopped:
        Textfile(str(tmp_path / "missing" / "a.prom")).write(b"x")
    assert stopped.value.code is Exit.FAILED
    assert str(stopped.value).endswith("a.prom: No such file or directory")


def test_the_first_failed_write_and_the_next_success_are_lines(tmp_path: Path) -> None:
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


def test_old_values_do_not_outlive_a_failed_write(tmp_path: Path) -> None:
    file, path = Textfile(str(tmp_path / "a.prom")), tmp_path / "a.prom"
    file.warn = lambda _line: None
    file.write(b"first")
    (tmp_path / f".a.prom.{os.getpid()}.new").mkdir()  # blocks the next version
    file.write(b"second")
    assert not path.exists()


def test_a_closed_file_is_gone_and_a_late_thread_writes_nothing(tmp_path: Path) -> None:
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


def test_the_file_is_written_after_the_first_update_each_outcome_and_the_begin_of_blindness() -> None:
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


def test_the_file_is_written_when_an_incident_opens() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    monitor, _ = monitor.apply(NO_PROFILE, listed(beating(12)), reading())
    down = [*beating(12, connectionId=None)]
    monitor, _ = monitor.apply(NO_PROFILE, listed(down, NOW + 5_000), reading(NOW + 5_000))
    is_change = change_test()
    is_change(update_of(monitor, NOW + 5_000))
    monitor, opening = monitor.tick(reading(NOW + 16_000))
    assert opening.opened
    assert is_change(update_of(monitor, NOW + 16_000, changes=opening))


# The file follows the polls, as a program.


async def test_the_file_follows_the_polls_under_nohup_to_their_end(tmp_path: Path) -> None:
    path, nohup = tmp_path / "a.prom", ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *ENVWATCH)
    async with faulty_server(fresh(3)) as server:
        with running(server, tmp_path, f"--textfile={path}", "--interval=1s", command=nohup) as process:
            await series_when(path, UP, 0, id="env-1")
            process.send_signal(signal.SIGHUP)
            server.rows = fresh(3, {"lastHeartbeat": time.time() * 1000})
            await series_when(path, UP, 1, id="env-1")
            server.break_every_page(says(500, "{}"))
            series = await series_when(path, "envwatch_up", 0)
            assert series.by_id(UP) == {"env-1": 1, "env-2": 1, "env-3": 1}
            assert (series.value("envwatch_polls_total", result="success") or 0) >= 2
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == Exit.TERMINATED
    assert [name for name in names_in(tmp_path) if "prom" in name] == [], "the file is removed"
    assert KEY not in (tmp_path / "errors").read_text()
