"""A command's process: input, environment, and limits."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envwatch.deliver.message import DeliveryError
from envwatch.deliver.process import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from envwatch.model.text import SafeText

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
PATIENCE_S = 20.0


async def shell(script: str, content: bytes = b"{}", environ: Mapping[str, str] = ENVIRON, **limits: Any) -> SafeText:
    return await run(["sh", "-c", script], environ, content, **limits)


async def failure_of(running: Awaitable[SafeText]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await running
    return caught.value


def content_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def until_there(path: Path) -> str:
    async with asyncio.timeout(PATIENCE_S):
        while not (text := content_of(path)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return text


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while is_running(pid):  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.01)


async def test_a_command_occupies_no_thread_of_the_polls(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    began, go = tmp_path / "began", tmp_path / "go"
    hangs = asyncio.create_task(shell(f"echo . >{began}; until [ -e {go} ]; do sleep 0.02; done"))
    await until_there(began)
    await asyncio.to_thread(go.touch)
    assert await hangs == ""


@pytest.mark.parametrize("script", ["exit 0", "exec 0<&-; sleep 0.1", "exec 0<&- 1>&- 2>&-; sleep 0.1"])
async def test_a_command_need_not_read_a_long_event(script: str) -> None:
    assert await shell(script, b"x" * 1_000_000) == ""


async def test_a_long_event_arrives_whole() -> None:
    assert await shell("wc -c", b"x" * 1_000_000) == "1000000"


async def test_the_output_of_a_failed_command_is_cleaned() -> None:
    error = await failure_of(shell(r"printf 'no \033[31mpager\nat all\n' >&2; exit 3"))
    assert (str(error), error.output) == ("failed with exit status 3", r"no \x1b[31mpager | at all")


async def test_a_killed_command_is_named_by_its_signal() -> None:
    assert str(await failure_of(shell("kill -SEGV $$"))) == "ended by signal 11"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["/nonexistent/page"], "No such file or directory"),
        (["/etc"], "Permission denied"),
        ([__file__], "Permission denied"),
    ],
)
async def test_an_unusable_command_is_named(arguments: Sequence[str], why: str) -> None:
    assert str(await failure_of(run(arguments, ENVIRON, b""))) == f"cannot run {arguments[0]}: {why}"


async def test_a_too_long_variable_is_a_failure() -> None:
    error = await failure_of(shell("true", environ=ENVIRON | {"ENVWATCH_SUMMARY": "x" * 1_000_000}))
    assert str(error) == "cannot run sh: Argument list too long"


async def test_a_hanging_command_is_killed() -> None:
    error = await failure_of(shell("exec sleep 1000", time_limit=timedelta(seconds=0.2)))
    assert str(error) == "did not end within 0.2 s, and was killed"


async def test_a_command_is_killed_once_reading_stops() -> None:
    script = "head -c 4096 >/dev/null; exec sleep 1000"
    error = await failure_of(shell(script, b"x" * 1_000_000, time_limit=timedelta(seconds=0.5)))
    assert str(error) == "did not end within 0.5 s, and was killed"


@pytest.mark.parametrize(
    ("script", "is_killed"), [("yes | head -c 65536", False), ("yes | head -c 65537", True), ("yes", True)]
)
async def test_a_command_may_print_64_kib(script: str, *, is_killed: bool) -> None:
    if is_killed:
        error = await failure_of(shell(script))
        assert str(error) == "printed more than 64 KiB, and was killed"
        assert len(error.output or "") <= 500
    else:
        await shell(script)


async def test_a_child_left_by_a_command_delays_nothing(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    assert await shell(f"sleep 1000 & echo $! > {pids}; echo done") == "done"
    child = int(pids.read_text())
    assert is_running(child)
    os.kill(child, 9)


async def test_a_command_is_killed_with_its_children_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    patient = shell(f"sleep 1000 & echo $$ $! > {pids}; wait", time_limit=timedelta(hours=1))
    sending = asyncio.ensure_future(patient)
    command, child = map(int, (await until_there(pids)).split())
    sending.cancel()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert not is_running(command)
    await until_ended(child)
