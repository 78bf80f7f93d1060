"""Viewers of the real `envwatch serve` on the demo: the real dashboard in a terminal, `list`, the official SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.budget import first_quick
from support.load import scaled
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal
from support.serve_program import TOKEN, ServeProgram, run, serve_program, tokens_file
from support.serve_program import upstream as asking
from support.upstream import Upstream, demo_upstream, wait_until
from support.viewer_crowd import POLL_S, crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

BLIND_WITHIN_S = 120.0
SIZES = [(80, 24), (120, 36)]


class Team(NamedTuple):
    upstream: Upstream
    key: str
    served: ServeProgram
    home: Path

    @property
    def polls(self) -> int:
        """Number of complete listings in the log of `serve`."""
        log = self.home / "serve.log"
        return log.read_text().count(" poll: ") if log.exists() else 0

    def viewer(self, name: str = "viewer") -> dict[str, str]:
        (self.home / name).mkdir(exist_ok=True)
        return asking(self.home / name, self.served.urls[0], TOKEN)

    def direct(self) -> dict[str, str]:
        (self.home / "direct").mkdir(exist_ok=True)
        return asking(self.home / "direct", self.upstream.url, self.key)

    def states(self, environ: dict[str, str]) -> dict[str, str]:
        done = run(environ, "list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {row["id"]: row["state"] for row in json.loads(done.stdout)["environments"]}


@contextmanager
def team(home: Path, *, is_open: bool = True) -> Iterator[Team]:
    with demo_upstream() as (upstream, key):
        if not is_open:
            upstream.shut()
        tokens_file(home)
        arguments = ("--no-history", "--log-file", str(home / "serve.log"))
        with serve_program(asking(home, upstream.url, key), home, *arguments) as served:
            yield Team(upstream, key, served, home)


@contextmanager
def dashboard(environ: dict[str, str], *arguments: str) -> Iterator[Terminal]:
    log = f"{environ['HOME']}/envwatch.log"
    command = ("--interval", "1s", "--no-history", "--log-file", log, *arguments)
    names = ("LETTA_BASE_URL", "LETTA_API_KEY")
    more = {name: environ[name] for name in names}
    with Terminal.of_envwatch(*command, home=Path(environ["HOME"]), environ=more) as terminal:
        yield terminal


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team(tmp_path_factory.mktemp("team")) as running:
        wait_until(lambda: running.polls, "a first listing")
        yield running


def test_a_viewer_says_why_there_is_no_listing_yet_and_has_one_with_the_server(tmp_path: Path) -> None:
    with team(tmp_path, is_open=False) as here, dashboard(here.viewer()) as terminal:
        for columns, lines in SIZES:
            terminal.resize(columns, lines)
            terminal.wait_for(r"envwatch serve has no listing yet: nothing\s+listens at")
        here.upstream.open()
        terminal.wait_for(r"● \d\d on .* live ", within=90)


@pytest.mark.parametrize("changes", first_quick([1, 5]))
def test_a_change_is_on_the_screen_of_a_viewer_soon_after(shared: Team, changes: int) -> None:
    """The delay is mostly the server's interval, one second here, plus the viewer's."""
    with dashboard(shared.viewer()) as terminal:
        terminal.wait_for(r"● \d\d on .* live ")
        lags = list[float]()
        for number in range(changes):
            name = f"changed-{number}".encode()
            shared.upstream.rename(b"hiro-studio", name)
            changed_at = time.monotonic()
            terminal.wait_for(rf"changed-{number} ")
            lags.append(time.monotonic() - changed_at)
            shared.upstream.rename(b"", b"")
            terminal.wait_for(r"hiro-studio ")
        lags.sort()
        assert lags[changes // 2] <= scaled(10), lags


@pytest.mark.parametrize(
    ("viewers", "seconds"), [pytest.param(30, 3, id="short"), pytest.param(100, 20, marks=pytest.mark.slow)]
)
def test_upstream_is_asked_no_more_often_by_a_hundred_viewers_than_by_one(
    shared: Team, viewers: int, seconds: int
) -> None:
    async def count(viewers: int, official: int, seconds: int) -> None:
        async with crowd(shared.served.urls[0], viewers, official) as seen:
            began, requests, polls = time.monotonic(), shared.upstream.requests, shared.polls
            await asyncio.sleep(seconds)
            answers = viewers * seconds / POLL_S / 4
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    while seen.answers < answers or seen.official < official:  # noqa: ASYNC110  threads count too
                        await asyncio.sleep(0.1)
            requests, polls = shared.upstream.requests - requests, shared.polls - polls
            took_s = time.monotonic() - began
        assert not seen.refused, seen.refused[:3]
        assert seen.answers >= answers, "the viewers did poll"
        assert seen.official >= official
        assert abs(requests - polls) <= 1, "each request is one poll of the server"
        # The server polls every second, up to a tenth early.
        assert requests <= took_s / 0.9 + 2, f"{requests} requests in {took_s:.1f} s with {viewers} viewers"

    async def both() -> None:
        await count(1, 0, min(seconds, 5))
        await count(viewers, 3, seconds)

    asyncio.run(both())


def test_a_date_that_is_an_hour_off_gives_a_viewer_the_verdicts_of_a_direct_observer(tmp_path: Path) -> None:
    with team(tmp_path) as here, dashboard(here.viewer("one")) as viewer, dashboard(here.direct()) as direct:
        for terminal in (viewer, direct):
            terminal.wait_for(r"● \d\d on .* live ")
        here.upstream.date_error_s = 3_600.0
        polls = here.polls
        wait_until(lambda: here.polls >= polls + 3, "three polls by the wrong date")

        def differing() -> set[str]:
            one, other = here.states(here.viewer()), here.states(here.direct())
            return {id_ for id_ in one.keys() | other.keys() if one.get(id_) != other.get(id_)}

        # A row that changes between both listings agrees a moment later.
        wait_until(lambda: not differing(), "verdicts that are the same")
        for terminal in (viewer, direct):
            shown = terminal.wait_for(r"● (\d\d) on")
            assert int(shown[1]) > 20, terminal.text


@pytest.mark.slow
def test_blindness_reaches_a_viewer_with_its_cause_and_ends_within_two_polls(tmp_path: Path) -> None:
    with team(tmp_path) as here, dashboard(here.viewer()) as terminal:
        terminal.wait_for(r"● \d\d on .* live ")
        here.upstream.shut()
        terminal.wait_for(r"STALE \d+s")
        for columns, lines in SIZES:
            terminal.resize(columns, lines)
            terminal.wait_for(r" \? \d\d unknown {2,}BLIND \d+s", within=BLIND_WITHIN_S)
            # The message takes two lines; the break depends on the numbers.
            terminal.wait_for(r"(?s)envwatch serve has.*had no.*listing for.*\d+ s:.*nothing.*listens at")
        answer = here.served.ask()
        assert (answer.status, answer.json["errorCode"]) == (503, "envwatch_blind")
        assert "nothing listens at" in answer.json["error"]
        assert b"envwatch_environment_up" not in here.served.ask("/metrics").body
        here.upstream.open()
        polls = here.polls
        wait_until(lambda: here.polls > polls, "the server has a listing again", within=90)
        failed = _failed_polls(here)
        terminal.wait_for(r"● \d\d on .* live ")
        assert _failed_polls(here) - failed <= 2, "back within two polls"


def _failed_polls(here: Team) -> int:
    return (here.home / "viewer" / "envwatch.log").read_text().count("poll failed")


@pytest.mark.slow
def test_an_upstream_that_stalls_makes_data_stale_on_a_viewer_until_it_goes_on(tmp_path: Path) -> None:
    with team(tmp_path) as here, dashboard(here.viewer()) as terminal:
        terminal.wait_for(r"● \d\d on .* live ")
        here.upstream.going_on.clear()
        terminal.wait_for(r"STALE \d+s", within=60)
        assert re.search(r"● \d\d on", terminal.text), "stale rows keep their verdicts"
        here.upstream.going_on.set()
        terminal.wait_for(r"● \d\d on .* live ", within=90)


def test_a_server_that_ends_is_told_from_one_that_is_blind(tmp_path: Path) -> None:
    with team(tmp_path) as here, dashboard(here.viewer()) as terminal:
        terminal.wait_for(r"● \d\d on .* live ")
        assert here.served.end() == 143
        port = here.served.port
        with socket.socket() as bound:
            # The port stays bound without a listener: a port that is free may be another test's server a moment later.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", port))
            # The next try's time is at the end of the first of two lines.
            words = f"nothing listens at 127.0.0.1:{port}", "envwatch serve is stopping"
            pattern = "|".join(r"\s+(?:next try[^\n]*\s+)?".join(map(re.escape, text.split())) for text in words)
            terminal.wait_for(pattern, within=60)
