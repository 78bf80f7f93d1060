"""Commands with a single listing, with a terminal and without: progress during the listing."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import wire_rows
from support.faulty_server import KEY, Faulty, How, Reply, Stop, Where, faulty_server
from support.pty_terminal import Terminal, environment

from envwatch.cli.one_listing import fetch_all
from envwatch.cli.streams import ProgressLine
from envwatch.config.credentials import Credentials
from envwatch.config.settings import all_settings_of
from envwatch.model.text import SafeText, clean
from envwatch.redactor import Secret
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from envwatch.model.outcome import Failed, Listed

SLOW_S = 1.1
"""Longer than a listing without a line of progress."""
READING = b"\rreading: 4 environments, 2 pages"


def late(reply: Reply) -> Reply:
    return replace(reply, latency=SLOW_S)


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(5)) as faulty:
        faulty.break_page(1, late)
        yield faulty


def variables(server: Faulty) -> dict[str, str]:
    return {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}


async def test_a_long_listing_shows_how_much_has_been_read_and_erases_that(tmp_path: Path, server: Faulty) -> None:
    def shown() -> tuple[int, bytes, str]:
        command = ("list", "--page-size", "2", "-o", "name")
        with Terminal.of_envwatch(*command, home=tmp_path, environ=variables(server)) as terminal:
            return terminal.wait_for_end(), bytes(terminal.received), terminal.text

    code, received, text = await asyncio.to_thread(shown)
    assert READING in received
    assert "reading" not in text
    assert (code, text.count("laptop of env-")) == (0, 5)


async def test_a_long_listing_shows_nothing_of_it_without_a_terminal(tmp_path: Path, server: Faulty) -> None:
    environ = environment(tmp_path, **variables(server))
    commands = [[sys.executable, "-m", "envwatch", name, "--page-size", "2"] for name in ("list", "check")]
    for done in await asyncio.gather(*(asyncio.to_thread(programs.run, each, environ) for each in commands)):
        assert b"5 environments" in done.stdout + done.stderr
        assert b"reading" not in done.stdout + done.stderr


async def test_a_check_that_is_ended_while_it_reads_leaves_only_its_result(tmp_path: Path, server: Faulty) -> None:
    server.break_page(2, Stop(Where.BODY, How.HANG))

    def ended() -> tuple[int, str]:
        command = ("check", "--page-size", "2", "--timeout", "60")
        with Terminal.of_envwatch(*command, home=tmp_path, environ=variables(server)) as terminal:
            terminal.wait_for("^reading: 4 environments, 2 pages$")
            terminal.send_signal(signal.SIGTERM)
            return terminal.wait_for_end(), terminal.text.strip()

    assert await asyncio.to_thread(ended) == (3, "ENVWATCH UNKNOWN - terminated before there was a listing")


class Shown(ProgressLine):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    @property
    def is_due(self) -> bool:
        return True

    def show(self, text: str) -> None:
        self.texts.append(text)


async def test_several_listings_are_counted_together(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(250)) as faulty:
        credentials = Credentials(key=Secret(KEY), base_url=faulty.url, origin="a test")
        (settings,) = all_settings_of({}, {"HOME": str(tmp_path)})
        outcomes: dict[SafeText, Listed | Failed] = {}
        line = Shown()
        profiles = Profiles({clean(name): SelectedProfile(credentials, settings) for name in ("a", "b")})
        await fetch_all(profiles, outcomes, line)
    assert len(outcomes) == 2
    assert line.texts[0] == "reading: 100 environments, 1 page"
    assert line.texts[-1] == "reading: 500 environments, 6 pages"
