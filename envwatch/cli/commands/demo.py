"""`envwatch demo`: the dashboard on a demo server, or the server alone."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import DemoHistory
from envwatch.cli.streams import print_error, write
from envwatch.config.values import whole
from envwatch.demo.scenarios import DEFAULT_SEED, DEFAULT_SIZE, FleetSpec, Scenario
from envwatch.redactor import redactor
from envwatch.watch.profiles import Profiles, SelectedProfile, history_folder_for

if TYPE_CHECKING:
    from pathlib import Path

_UNLIMITED: Final = 1_000_000
"""Requests a minute, in effect unlimited: the server is local."""


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Run the dashboard on a simulated fleet: a local server with the same API. The command needs no key."
    )
    size, seed = (
        f"environments (default {DEFAULT_SIZE})",
        f"another number gives another fleet (default {DEFAULT_SEED})",
    )
    parser.add_argument("--size", default=DEFAULT_SIZE, **valued("N", whole(0, 100_000), size))
    parser.add_argument("--seed", default=DEFAULT_SEED, **valued("N", whole(0, 2**63 - 1), seed))
    scenarios = [each.value for each in Scenario]
    about = f"another story: {', '.join(scenarios)}"
    parser.add_argument("--scenario", default=None, choices=scenarios, metavar="STORY", help=about)
    parser.add_flag("--no-hints", "hide the line of hints")
    parser.add_flag("--serve", "run only the server, until ctrl+c; print its address")
    parser.add_shared("interval", "no_mouse", "no_history", "view", *QUERY_OPTIONS, *OUTPUT_OPTIONS, "config")


def run(options: Options) -> int:
    """Run the demo."""
    return _serve(options) if options.serve else _show(options)


def _show(options: Options) -> int:
    from envwatch.cli.commands.dashboard import check_terminal, run_dashboard

    check_terminal()
    import asyncio
    from dataclasses import replace

    from envwatch.cli.demo_settings import (
        demo_host,
        demo_settings,
        earlier_start,
        hints_key,
        uptimes_at_first,
        with_remedy,
    )
    from envwatch.demo.child import ChildServer
    from envwatch.demo.start_listener import KEY_VARIABLE
    from envwatch.fleet.events import NO_PROFILE

    settings, spec = demo_settings(options), FleetSpec.from_values(options.size, options.seed, options.scenario)
    folder = history_folder_for(demo_host(spec), settings)
    ages_from = earlier_start(folder, time.time() * 1000)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(closing(ChildServer.start(spec, ages_from=ages_from)))
            from envwatch.config.credentials import Credentials
            from envwatch.redactor import Secret

            credentials = Credentials(key=Secret(child.key), base_url=child.base_url, origin="the demo itself")
        except OSError as error:
            raise StopError(Exit.FAILED, f"the demo cannot start: {error}") from None
        redactor().learn(child.key)
        if spec.scenario is Scenario.OUTAGE:
            os.environ[KEY_VARIABLE] = child.key
            settings = with_remedy(settings, credentials.base_url)
        is_whole = not (settings.online_only or settings.source or settings.user)
        day, started_at = (spec.day if is_whole else None), (child.started_at if ages_from is None else None)
        demo = DemoHistory(folder, partial(_write_past, folder, day, started_at), uptimes_at_first(spec))
        limits = replace(settings.limits, requests_per_minute=_UNLIMITED)
        key = "" if options.no_hints else hints_key(settings)
        profile = SelectedProfile(credentials, replace(settings, limits=limits))
        return asyncio.run(run_dashboard(Profiles({NO_PROFILE: profile}), options, demo, key))


def _write_past(folder: Path, day: str | None, started_at: int | None) -> None:
    """Write the day before the opening. Without a start, an earlier demo's history goes on."""
    if started_at is not None:
        from envwatch.cli.demo_past import write_past

        write_past(folder, day, started_at)


def _serve(options: Options) -> NoReturn:
    import secrets
    import signal

    from envwatch.demo.server import LISTENER_PATH, Server

    try:
        key = f"demo-{secrets.token_urlsafe(24)}"
        server = Server(FleetSpec.from_values(options.size, options.seed, options.scenario), key=key)
    except OSError as error:
        raise StopError(Exit.FAILED, f"the demo server cannot listen: {error.strerror}") from None
    with server:
        write(f"export LETTA_BASE_URL={server.base_url}\nexport LETTA_API_KEY={server.key}\n".encode())
        print_error(
            f"serving {options.size} environments until ctrl+c: "
            "paste these lines into another shell, then run `envwatch`"
        )
        if server.starts_listeners:
            print_error(
                'to end the outage, run this with the id of a lost environment: curl -X POST -H "Authorization: Bearer '
                f'$LETTA_API_KEY" "$LETTA_BASE_URL{LISTENER_PATH}ID"'
            )
        while True:
            signal.pause()
