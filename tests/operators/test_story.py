"""An operations team's view: real polls, a real Prometheus with the shipped rules, a real Alertmanager, one message.

All times of the shipped rules and route are divided.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from support import programs
from support.faulty_server import KEY, Faulty, down, listening, says, up
from support.prometheus_programs import (
    OPERATORS,
    Prometheus,
    alertmanager,
    expressions,
    needs_both_servers,
    prometheus,
    until,
)
from support.pty_terminal import environment
from support.receiver import Receiver, receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

pytestmark = [pytest.mark.slow, needs_both_servers]

FASTER: Final = 40
"""Divisor of the rules' times: 10 minutes become 15 seconds."""

SERVE: Final = (sys.executable, "-m", "envwatch", "serve")
CERTIFICATE: Final = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"

PODS: Final = {f"worker-{number}": "p-7" for number in range(8)} | {f"build-{number}": "p-2" for number in range(4)}

_TIME: Final = re.compile(r"^( +(?:for|keep_firing_for|group_wait|group_interval): )(\d+)([sm])", re.MULTILINE)


def hurried(name: str, *, after: str = "") -> str:
    """Return a shipped file with times divided after a text."""
    text = (OPERATORS / name).read_text(encoding="utf-8")
    start = text.index(after)
    hurry = _TIME.sub(lambda at: f"{at[1]}{int(at[2]) * {'s': 1, 'm': 60}[at[3]] * 1000 // FASTER}ms", text[start:])
    assert hurry != text[start:]
    return text[:start] + hurry


def healthy(now: float) -> list[dict[str, Any]]:
    return [up(id_, now, podId=pod) for id_, pod in PODS.items()]


def without_the_pod(lost_at: float, now: float) -> list[dict[str, Any]]:
    return [up(id_, now, podId=pod) if pod == "p-2" else down(id_, lost_at) for id_, pod in PODS.items()]


def started(command: Sequence[str], environ: Mapping[str, str], log: Path) -> programs.Program:
    with Path(os.devnull).open("rb") as null, log.open("wb") as output:
        streams = (null.fileno(), output.fileno(), output.fileno())
        return programs.start(command, environ, streams, folder=log.parent)


@asynccontextmanager
async def served(platform: Faulty, home: Path) -> AsyncIterator[str]:
    """Let `envwatch serve` poll a platform each second; yield the TLS port.

    Prometheus' token is in the file `token`.
    """
    (home / "config.toml").write_text('alert_after = "1s"\n', encoding="utf-8")
    known = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": platform.url, "ENVWATCH_CONFIG": str(home / "config.toml")}
    environ = environment(home, **known)
    added = await asyncio.to_thread(programs.run, [*SERVE, "--new-token=prometheus"], environ)
    assert added.returncode == 0, added.stderr
    (home / "token").write_bytes(added.stdout)
    log = home / "serve.log"
    process = started([*SERVE, "--interval=1s", "--bind=127.0.0.1:0", f"--tls-cert={CERTIFICATE}"], environ, log)

    async def listens() -> bool:
        return "LETTA_BASE_URL" in log.read_text(encoding="utf-8")

    try:
        await until(listens)
        found = re.search(r"LETTA_BASE_URL=https://127.0.0.1:(\d+)", log.read_text(encoding="utf-8"))
        assert found is not None
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, programs.TIMEOUT_S)


def changed(text: str, **changes: str) -> str:
    """Return a shipped configuration with a user's values of settings."""
    for name, value in changes.items():
        text, count = re.subn(rf"(?m)^([ -]*{name}: ).*$", rf"\g<1>{value}", text)
        assert count, name
    return text


@dataclass(frozen=True, slots=True)
class Stack:
    platform: Faulty
    prometheus: Prometheus
    alertmanager_url: str
    pager: Receiver

    async def suppressed(self) -> list[str]:
        async with httpx.AsyncClient(base_url=self.alertmanager_url) as client:
            alerts = (await client.get("/api/v2/alerts")).json()
        return [each["labels"]["alertname"] for each in alerts if each["status"]["inhibitedBy"]]

    async def lose_the_pod(self) -> None:
        self.platform.script = partial(without_the_pod, time.time() * 1000)
        await self.pager.have_come(1)


@asynccontextmanager
async def stack(folder: Path) -> AsyncIterator[Stack]:
    platform = Faulty(healthy)
    async with receiver() as pager, listening(platform), served(platform, folder) as port:
        # A busy machine may miss scrapes for some seconds, so the rule about missed scrapes keeps the full time.
        (folder / "alerts.yml").write_text(hurried("alerts.yml", after="- alert: EnvwatchBlind"), encoding="utf-8")
        route = changed(hurried("alertmanager.yml"), url=pager.url)
        async with alertmanager(route, folder) as alertmanager_url:
            config = changed(
                (OPERATORS / "prometheus.yml").read_text(encoding="utf-8"),
                scrape_interval="1s",
                evaluation_interval="1s",
                credentials_file=str(folder / "token"),
                ca_file=str(CERTIFICATE),
            )
            config = config.replace("watch.example.com:8283", f"localhost:{port}")
            config = config.replace("localhost:9093", alertmanager_url.removeprefix("http://"))
            async with prometheus(config, folder) as server:
                await until(lambda: server.holds('envwatch_environments{state="online"} == 12'))
                yield Stack(platform, server, alertmanager_url, pager)


async def test_a_lost_pod_is_one_message_and_one_more_after_the_return(tmp_path: Path) -> None:
    async with stack(tmp_path) as running:
        await running.lose_the_pod()
        message = running.pager.posted[0].json
        assert (message["status"], len(message["alerts"])) == ("firing", 1)
        alert = message["alerts"][0]
        assert alert["labels"]["alertname"] == "EnvironmentMassLoss"
        assert alert["annotations"]["summary"] == "8 environments of default are down, lost together: all pod p-7"

        # Long enough for EnvironmentDown about a single environment.
        await until(lambda: running.prometheus.holds('time() - ALERTS_FOR_STATE{alertname="EnvironmentMassLoss"} > 20'))
        others = 'count_over_time(ALERTS{alertname!="EnvironmentMassLoss", alertstate="firing"}[1h])'
        assert await running.prometheus.result(others) == []
        for title, expression in expressions().items():
            is_empty = not await running.prometheus.holds(expression)
            assert is_empty == title.startswith("Unrestricted or flapping"), title
        assert len(running.pager.posted) == 1

        running.platform.script = healthy
        resolved = (await running.pager.have_come(2))[1].json
        assert (resolved["status"], len(resolved["alerts"])) == ("resolved", 1)
        assert resolved["alerts"][0]["labels"] == alert["labels"]
    assert len(running.pager.posted) == 2


async def test_while_envwatch_is_blind_a_loss_is_neither_repeated_nor_resolved(tmp_path: Path) -> None:
    async with stack(tmp_path) as running:
        await running.lose_the_pod()
        # A status without overload: polls return within 15 s, after an overload within 60 s.
        running.platform.break_every_page(says(500))
        # A fleet is blind once the newest listing is a minute old.
        is_blind = 'ALERTS{alertname="EnvwatchBlind", alertstate="firing"}'
        await until(lambda: running.prometheus.holds(is_blind), within=180.0)
        blind = (await running.pager.have_come(2))[1].json
        assert (blind["status"], blind["groupLabels"]["alertname"]) == ("firing", "EnvwatchBlind")
        await until(lambda: running.prometheus.holds('time() - ALERTS_FOR_STATE{alertname="EnvwatchBlind"} > 10'))
        assert await running.prometheus.holds('ALERTS{alertname="EnvironmentMassLoss", alertstate="firing"}')
        assert not await running.prometheus.holds("envwatch_environment_up")
        assert await running.suppressed() == ["EnvironmentMassLoss"]
        assert len(running.pager.posted) == 2

        running.platform.script = healthy
        running.platform.heal()
        ends = [message.json for message in (await running.pager.have_come(4))[2:]]
        assert {message["status"] for message in ends} == {"resolved"}
        assert {message["groupLabels"]["alertname"] for message in ends} == {"EnvironmentMassLoss", "EnvwatchBlind"}
