"""`envwatch metrics` as users run it: real programs, real servers, real files and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import programs
from support.builders import wire_row, wire_rows
from support.faulty_server import KEY, Faulty, faulty_server, says
from support.pty_terminal import environment
from support.series import Series, complaints_of_promtool, needs_promtool

from envwatch.cli.arguments import Exit, StopError, options_in
from envwatch.cli.commands import metrics
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENVWATCH = (sys.executable, "-m", "envwatch", "metrics")
OFF = {"connectionId": None, "lastHeartbeat": None}
UP = "envwatch_environment_up"


class Ended(NamedTuple):
    code: int
    out: bytes
    err: str


async def ended(server: Faulty, home: Path, *arguments: str, **more: str) -> Ended:
    environ = environment(home, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url) | more
    done = await asyncio.to_thread(programs.run, [*ENVWATCH, *arguments], environ, folder=home)
    assert KEY.encode() not in done.stdout + done.stderr
    return Ended(done.returncode, done.stdout, done.stderr.decode())


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


@needs_promtool
async def test_one_poll_goes_to_standard_output(tmp_path: Path) -> None:
    async with faulty_server(fresh(3)) as server:
        code, out, err = await ended(server, tmp_path)
    assert (code, err) == (Exit.FINE, "")
    assert complaints_of_promtool(out) == ""
    series = Series.read(out)
    assert series.by_id(UP) == {"env-1": 0, "env-2": 1, "env-3": 1}
    assert series.value("envwatch_polls_total", profile="default", result="success") == 1


async def test_what_the_dashboard_has_acknowledged_does_not_alert(tmp_path: Path) -> None:
    acks = tmp_path / ".local/state/envwatch/acknowledged.json"
    acks.parent.mkdir(parents=True)
    rows = [*fresh(2, OFF | {"lastSeenAt": time.time() * 1000})]
    async with faulty_server(rows) as server:
        assert Series.read((await ended(server, tmp_path)).out).value("envwatch_alerting") == 1
        key = (clean(server.url.removeprefix("http://")), clean("env-1"))
        merge(acks, ACKNOWLEDGEMENTS, {key: Ack(time.time() * 1000, clean("new disks"))})
        assert Series.read((await ended(server, tmp_path)).out).value("envwatch_alerting") == 0


async def test_a_filter_and_a_limit_choose_which_environments_have_series(tmp_path: Path) -> None:
    async with faulty_server(fresh(5)) as server:
        filtered = Series.read((await ended(server, tmp_path, "--filter", "status:online")).out)
        limited = Series.read((await ended(server, tmp_path, "--largest", "2")).out)
    assert filtered.by_id(UP) == {f"env-{n}": 1 for n in (2, 3, 4, 5)}
    assert filtered.value("envwatch_environments", state="offline") == 0
    assert len(limited.by_id(UP)) == 2
    assert limited.value("envwatch_environments", state="online") == 4
    assert limited.value("envwatch_environments_omitted") == 3


@pytest.mark.parametrize(
    ("status", "code", "result"), [(500, Exit.UNREACHABLE, "server_error"), (401, Exit.AUTHENTICATION, "key_refused")]
)
async def test_a_poll_that_fails_is_a_series_a_line_and_an_exit_code(
    tmp_path: Path, status: int, code: Exit, result: str
) -> None:
    async with faulty_server(fresh(3)) as server:
        server.break_every_page(says(status, f'{{"message": "not for {KEY}"}}'))
        done = await ended(server, tmp_path, "--once", "--textfile", "a.prom")
    assert KEY not in (tmp_path / "a.prom").read_text()
    series = Series.read((tmp_path / "a.prom").read_bytes())
    assert (done.code, done.out) == (code, b"")
    assert done.err.startswith("envwatch: ")
    assert done.err.count("\n") == 1
    assert (series.value("envwatch_up"), series.value("envwatch_blind")) == (0, 1)
    assert series.value("envwatch_polls_total", result=result) == 1
    assert series.of_environments == set()


async def test_with_once_the_file_stays_and_everybody_may_read_it(tmp_path: Path) -> None:
    async with faulty_server(fresh(2)) as server:
        assert (await ended(server, tmp_path, "--once", "--textfile=a.prom")).code == Exit.FINE
    assert stat.S_IMODE((tmp_path / "a.prom").stat().st_mode) == 0o644
    assert Series.read((tmp_path / "a.prom").read_bytes()).by_id(UP) == {"env-1": 0, "env-2": 1}


async def end_by(process: programs.Program, number: signal.Signals, code: Exit, home: Path) -> None:
    """End a run by a signal: the file is removed, and no output has the key."""
    process.send_signal(number)
    assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == code
    assert [name for name in names_in(home) if "prom" in name] == []
    assert KEY not in (home / "errors").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGHUP, Exit.HUNG_UP)])
async def test_a_signal_removes_the_file(tmp_path: Path, number: signal.Signals, code: Exit) -> None:
    path = tmp_path / "a.prom"
    async with faulty_server(fresh(3)) as server:
        with running(server, tmp_path, f"--textfile={path}", "--interval=1s") as process:
            await series_when(path, UP, 0, id="env-1")
            await end_by(process, number, code, tmp_path)


async def test_the_file_follows_the_polls_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    async with faulty_server(fresh(3)) as server:
        with running(server, tmp_path, f"--textfile={path}", "--interval=1s") as process:
            await series_when(path, UP, 0, id="env-1")
            server.rows = fresh(3, {"lastHeartbeat": time.time() * 1000})
            await series_when(path, UP, 1, id="env-1")
            server.break_every_page(says(500, "{}"))
            series = await series_when(path, "envwatch_up", 0)
            assert series.by_id(UP) == {"env-1": 1, "env-2": 1, "env-3": 1}
            assert (series.value("envwatch_polls_total", result="success") or 0) >= 2
            await end_by(process, signal.SIGTERM, Exit.TERMINATED, tmp_path)


async def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    path, nohup = tmp_path / "a.prom", ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *ENVWATCH)
    async with faulty_server(fresh(1)) as server:
        with running(server, tmp_path, f"--textfile={path}", "--interval=1s", command=nohup) as process:
            await series_when(path, UP, 0, id="env-1")
            process.send_signal(signal.SIGHUP)
            server.rows = fresh(1, {"lastHeartbeat": time.time() * 1000})
            await series_when(path, UP, 1, id="env-1")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == Exit.TERMINATED


async def test_what_is_no_file_is_refused_before_the_first_request(tmp_path: Path) -> None:
    async with faulty_server(fresh(1)) as server:
        done = await ended(server, tmp_path, "--textfile=/dev/null")
        assert server.seen == []
    assert (done.code, done.err) == (Exit.USAGE, "envwatch: --textfile /dev/null: It is no regular file\n")


def test_without_its_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(StopError) as stopped:
        metrics.run(options_in(["metrics"]))
    assert stopped.value.code is Exit.USAGE
    assert str(stopped.value).endswith("such as `uv tool install '.[metrics]'`")
