"""Work next to the polls of `envwatch serve`: files that change meanwhile."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.demo_client import Client
from support.upstream import wait_until

from envwatch.cli.monitoring import Monitoring
from envwatch.cli.serving import Plan, Service
from envwatch.config.settings import Settings
from envwatch.fleet.monitor import Monitor
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.redactor import Redactor
from envwatch.serving.listening import Address, listen
from envwatch.serving.tokens import TokensFile
from envwatch.storage.log import PollLog
from envwatch.watch.loop import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST, SECOND = "token-of-the-first-day", "token-of-the-second-day"


def tokens_file(path: Path, token: str) -> TokensFile:
    write_token(path, token)
    return TokensFile(path, lambda _: None)


def write_token(path: Path, token: str) -> None:
    path.write_text(f"ann {token}\n")
    path.chmod(0o600)


class Running:
    def __init__(self, tokens: dict[str, TokensFile]) -> None:
        listening = listen(Address("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self.warnings: list[str] = []
        settings = {clean(name): Settings(profile=name) for name in tokens}
        files = {clean(name): file for name, file in tokens.items()}
        plan = Plan(settings, files, listening, None)
        watch = Watch(Monitor.create(dict.fromkeys(settings, Limits())))
        self.service = Service(plan, Monitoring(watch, {}, PollLog(None, Redactor()), self.warnings.append, at_once))

    def status(self, profile: str, token: str) -> int:
        with Client(f"http://127.0.0.1:{self.port}", token) as client:
            return client.ask(f"/profiles/{profile}/v1/environments").status


async def at_once() -> None:
    pass


@asynccontextmanager
async def running(tokens: dict[str, TokensFile]) -> AsyncIterator[Running]:
    found = Running(tokens)
    try:
        yield found
    finally:
        await found.service.aclose()


@pytest.mark.parametrize("broken", ["work", "home"])
async def test_a_file_of_tokens_that_cannot_be_used_holds_up_no_other(broken: str, tmp_path: Path) -> None:
    other = "home" if broken == "work" else "work"
    files = {name: tokens_file(tmp_path / name, FIRST) for name in ("work", "home")}
    async with running(files) as served:
        (tmp_path / broken).write_text("no token\n")
        write_token(tmp_path / other, SECOND)
        await served.service.renew()
        wait_until(lambda: served.status(other, SECOND) == 503, "the new token opens its profile")
        assert served.status(other, FIRST) == 401
        assert served.status(broken, FIRST) == 503
        (warning,) = served.warnings
        assert warning.startswith(f"the tokens stay as they were: {tmp_path / broken}:1: ")
