"""Costs of polls: CPU, blocking of the event loop, and a listing from scratch."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from arranged import ARRANGED
from findings import Finding
from fleets import demo_rows
from letta_client import Letta
from programs import ENVWATCH, SDK, TIMEOUT_S, home_for, peak_of, run, served
from sdk import count_all
from support.app_harness import target_of, watch_of
from support.builders import page_bytes

from envwatch.cli.commands.list import FORMATS
from envwatch.files import export_here
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import ProfileState
from envwatch.letta.client import Client
from envwatch.letta.poller import Poller, Session, read_clocks
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed
from envwatch.model.redactor import Secret
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.arguments import Inputs, Preferences
from envwatch.views.table.table_view import View
from envwatch.watch import gc_tuning

if TYPE_CHECKING:
    from envwatch.demo.child import ChildServer

UNLIMITED = Limits(requests_per_minute=1_000_000, interval=timedelta(seconds=2))
"""No request budget: the server is local."""

POLLS = 5
BETWEEN = 5.0
"""Seconds between polls, for a realistic share of new heartbeats."""


def poll() -> list[Finding]:
    """Fetch, decode and reduce 1,000 rows in 10 pages."""
    with served(1_000) as server:
        ours, theirs = asyncio.run(polls_in_turn(server))
    against = "the SDK's listing, same process"
    return [
        Finding(
            what="a poll of 1,000 rows in 10 pages: fetch, decode, reduce (CPU)",
            measured=median(ours),
            unit="ms",
            reference=median(theirs),
            against=against,
        )
    ]


async def polls_in_turn(server: ChildServer) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    profile_state = ProfileState(limits=UNLIMITED)
    with Letta(api_key=server.key, base_url=server.base_url) as sdk:
        async with _client(server) as client:
            await client.snapshot()
            count_all(sdk)
            for _ in range(POLLS):
                started, clocks = time.process_time(), read_clocks()
                snapshot = await client.snapshot()
                profile_state, _events = profile_state.apply(
                    Listed(snapshot, clocks, read_clocks(), UNLIMITED.interval)
                )
                ours.append((time.process_time() - started) * 1000)
                started = time.process_time()
                count_all(sdk)
                theirs.append((time.process_time() - started) * 1000)
                await asyncio.sleep(BETWEEN)
    return ours, theirs


def listing() -> list[Finding]:
    commands = ([*ENVWATCH, "list"], SDK)
    times: list[list[tuple[float, float]]] = [[], []]
    with served(1_000) as server, home_for(server) as environ:
        for command in commands:
            run(command, environ)
        for _ in range(7):
            for command, each in zip(commands, times, strict=True):
                each.append(run(command, environ))
    (wall, cpu), (sdk_wall, sdk_cpu) = ([median(column) for column in zip(*each, strict=True)] for each in times)
    what, against = "`envwatch list`, 1,000 rows in 10 pages, fresh process", "the SDK, fresh process"
    return [
        Finding(
            what=f"{what} (wall)",
            measured=wall,
            unit="ms",
            reference=sdk_wall,
            against=against,
        ),
        Finding(what=f"{what} (CPU)", measured=cpu, unit="ms", reference=sdk_cpu, against=against),
    ]


def listing_100k() -> list[Finding]:
    """List 100,000 rows in each format, in fresh processes; takes minutes."""
    with served(100_000) as server, home_for(server) as environ:
        config = Path(environ["HOME"]) / "patient.toml"
        config.write_text('walk_deadline = "10m"\nrequests_per_minute = 6000\n')
        theirs = peak_of(SDK, environ)
        command = [*ENVWATCH, "--config", str(config), "list", "--output"]
        return [
            Finding(
                what=f"most memory of `envwatch list -o {output}` at 100,000 rows",
                measured=peak_of([*command, output], environ),
                unit="MiB",
                reference=theirs,
                against="the SDK, which keeps one page at a time",
            )
            for output in FORMATS
        ]


class _Held(NamedTuple):
    """Longest blocking of the event loop."""

    wall: float
    cpu: float
    """CPU of the loop's thread: excludes other processes."""
    listings: int
    """Number of listings that the app had taken."""


def hold() -> list[Finding]:
    """Let an app without a terminal poll 10,000 rows, and measure the blocking of the event loop."""
    body = page_bytes(demo_rows(10_000))
    ways = {"": View(), " filtered, sorted and grouped": ARRANGED}
    with served(10_000) as server:
        held = {how: asyncio.run(_holds(server, view)) for how, view in ways.items()}
    started = time.perf_counter()
    whole = json.loads(body)
    reference = (time.perf_counter() - started) * 1000
    del whole
    return [
        Finding(
            what=f"longest hold of the event loop at 10,000 rows{how}, {polls} ({unit})",
            measured=max(getattr(each, unit.lower()) for each in some) * 1000,
            unit="ms",
            reference=reference,
            against="`json.loads` of it all at once",
        )
        for how, holds in held.items()
        for polls, some in (
            ("first poll", [each for each in holds if each.listings <= 1]),
            ("later polls", [each for each in holds if each.listings > 1]),
        )
        for unit in ("wall", "CPU")
    ]


async def _holds(server: ChildServer, view: View) -> list[_Held]:
    holds: list[_Held] = []
    async with _client(server) as client:
        targets = {NO_PROFILE: target_of(Poller(client, UNLIMITED))}
        gc_tuning.stop()  # as in the dashboard, until the first listing is drawn
        async with Session(targets, gc_tuning.start_after_first_outcome()) as session:
            app = EnvwatchApp(Inputs(watch=watch_of(session), export=export_here), Preferences())
            async with app.run_test(size=(80, 24)), asyncio.timeout(TIMEOUT_S):
                app.dashboard.set_view(view)
                await _tick_until(app, 4, holds)
    return holds


async def _tick_until(app: EnvwatchApp, listings: int, holds: list[_Held]) -> None:
    while app.state.monitor.fleet.by_profile[NO_PROFILE].listings < listings:
        wall, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0)
        holds.append(
            _Held(
                time.perf_counter() - wall,
                time.thread_time() - cpu,
                app.state.monitor.fleet.by_profile[NO_PROFILE].listings,
            )
        )


def _client(server: ChildServer) -> Client:
    return Client(base_url=server.base_url, key=Secret(server.key), limits=UNLIMITED, environ={})
