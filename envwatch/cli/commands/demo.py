"""`envwatch demo`: the dashboard on a demo server."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.streams import print_error, write
from envwatch.config.values import whole_number
from envwatch.model.redactor import redactor
from envwatch.watch.monitoring import DemoHistory
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULT_SIZE: Final = 40
_UNLIMITED: Final = 1_000_000
"""Requests a minute: no limit for a local server."""


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Watch a simulated fleet with losses and an outage. A server on this machine plays\n"
        "the API of Letta: you need no key, and nothing leaves your machine."
    )
    parser.examples = {
        "envwatch demo": "look around",
        "envwatch demo --size 1000": "a large fleet",
        "envwatch demo --serve": "only its server, to try other commands",
    }
    size = f"machines (default {_DEFAULT_SIZE})"
    parser.add_argument("--size", default=_DEFAULT_SIZE, **valued("N", whole_number(0, 100_000), size))
    parser.add_flag("--no-hints", "leave out the line of hints")
    parser.add_flag("--serve", "run only the server, until ctrl+c, and print its address")
    parser.add_shared("interval", "no_mouse", "no_history", "view", *QUERY_OPTIONS, *OUTPUT_OPTIONS, "config")


def run(options: Options) -> int:
    """Run the demo."""
    return _serve(options) if options.serve else _show(options)


def _show(options: Options) -> int:
    from envwatch.cli.commands.dashboard import require_terminal, run_dashboard

    require_terminal()
    import asyncio
    from dataclasses import replace

    from envwatch.cli.demo_settings import demo_folder, demo_settings, hints_key, uptimes_before
    from envwatch.config.credentials import Credentials
    from envwatch.demo.child import ChildServer
    from envwatch.fleet.events import NO_PROFILE
    from envwatch.model.redactor import Secret

    settings = demo_settings(options)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(closing(ChildServer(options.size)))
            credentials = Credentials(key=Secret(child.key), base_url=child.base_url, origin="the demo itself")
        except OSError as error:
            raise StopError(Exit.FAILED, f"the demo cannot start: {error}") from None
        redactor().learn(child.key)
        is_whole = options.size == _DEFAULT_SIZE and not (settings.online_only or settings.source or settings.user)
        folder = demo_folder(settings)
        prepare = partial(_write_past, folder, child.started_at if is_whole else None)
        demo = DemoHistory(folder, prepare, uptimes_before(options.size))
        limits = replace(settings.limits, requests_per_minute=_UNLIMITED)
        key = "" if options.no_hints else hints_key(settings)
        profile = SelectedProfile(credentials, replace(settings, limits=limits))
        return asyncio.run(run_dashboard(Profiles({NO_PROFILE: profile}), options, demo, key))


def _write_past(folder: Path, started_at: int | None) -> None:
    from envwatch.cli.demo_past import write_past

    write_past(folder, started_at)


def _serve(options: Options) -> NoReturn:
    import secrets
    import signal

    from envwatch.demo.server import Server

    try:
        key = f"demo-{secrets.token_urlsafe(24)}"
        server = Server(options.size, key=key)
    except OSError as error:
        raise StopError(Exit.FAILED, f"the demo server cannot listen: {error.strerror}") from None
    with server:
        write(f"export LETTA_BASE_URL={server.base_url}\nexport LETTA_API_KEY={server.key}\n".encode())
        print_error(
            f"serving {options.size} machines until ctrl+c: paste these lines into another shell, then run `envwatch`"
        )
        while True:
            signal.pause()
