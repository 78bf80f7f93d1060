"""The shipped Grafana dashboard, with queries as Prometheus gets them; and the real Prometheus and Alertmanager, if
installed, on free loopback ports and in separate folders.

From Debian's packages `prometheus` and `prometheus-alertmanager`; other systems may name Alertmanager differently.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OPERATORS: Final = Path(__file__).parents[2] / "docs" / "operators"

TIMEOUT_S = 60.0
"""Seconds to wait for a condition: generous, because a busy machine is slow."""

PROMETHEUS: Final = shutil.which("prometheus")
PROMTOOL: Final = shutil.which("promtool")
ALERTMANAGER: Final = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
AMTOOL: Final = shutil.which("amtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
needs_amtool = pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed (Debian: prometheus-alertmanager)")
needs_both_servers = pytest.mark.skipif(
    PROMETHEUS is None or ALERTMANAGER is None,
    reason="Prometheus or Alertmanager is not installed (Debian: prometheus, prometheus-alertmanager)",
)

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


DASHBOARD: Final = OPERATORS / "grafana-dashboard.json"

_VARIABLES: Final = {"$__rate_interval": "1m", "$instance": ".*", "$profile": ".*"}
"""Grafana's values of the variables when all choices are selected."""


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def concrete(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def expressions() -> dict[str, str]:
    return {
        f"{panel['title']} {target['refId']}": concrete(target["expr"])
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    }


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = TIMEOUT_S) -> None:
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110  what is asked is another process
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(*command: str | Path, folder: Path) -> AsyncIterator[str]:
    """Run a program that prints a listening address; yield the base URL, and end the program afterwards."""
    log = folder / f"{Path(command[0]).name}.log"
    process = await _started(command, log)
    try:
        yield await _base_url(process, log)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _started(command: tuple[str | Path, ...], log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent
        )


async def _base_url(process: asyncio.subprocess.Process, log: Path) -> str:
    async def listens() -> bool:
        assert process.returncode is None, _text(log)
        return _LISTENING.search(_text(log)) is not None

    await until(listens)
    found = _LISTENING.search(_text(log))
    assert found is not None
    return f"http://{found[1]}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@asynccontextmanager
async def alertmanager(config: str, folder: Path) -> AsyncIterator[str]:
    assert ALERTMANAGER is not None
    path = folder / "alertmanager.yml"
    path.write_text(config, encoding="utf-8")
    options = (f"--config.file={path}", f"--storage.path={folder / 'alerts'}", "--cluster.listen-address=")
    async with running(ALERTMANAGER, *options, "--web.listen-address=127.0.0.1:0", folder=folder) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Prometheus:
    client: httpx.AsyncClient

    async def result(self, expression: str) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    async def holds(self, expression: str) -> bool:
        return bool(await self.result(expression))


@asynccontextmanager
async def prometheus(config: str, folder: Path) -> AsyncIterator[Prometheus]:
    """Run Prometheus with a configuration; enter when Prometheus is ready."""
    assert PROMETHEUS is not None
    path = folder / "prometheus.yml"
    path.write_text(config, encoding="utf-8")
    options = (f"--config.file={path}", f"--storage.tsdb.path={folder / 'series'}")
    # Without this option, an alert that began before Alertmanager's discovery is sent again only after a minute.
    more = ("--rules.alert.resend-delay=1s", "--web.listen-address=127.0.0.1:0")
    async with running(PROMETHEUS, *options, *more, folder=folder) as url, httpx.AsyncClient(base_url=url) as client:

        async def is_ready() -> bool:
            return (await client.get("/-/ready")).status_code == 200

        await until(is_ready)
        yield Prometheus(client)
