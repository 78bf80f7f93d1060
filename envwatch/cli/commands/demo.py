"""`envwatch demo`: the dashboard on a demo server, or the server alone."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NoReturn

from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import all_settings_for
from envwatch.cli.streams import print_error, write
from envwatch.config.values import whole
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    from envwatch.config.settings import Settings

_UNLIMITED: Final = 1_000_000
"""Requests a minute: the server is our own."""


def add_arguments(parser: Parser) -> None:
    """Set the description and add the options."""
    parser.description = "The dashboard on a demo fleet: a real server of the same API on this machine. Needs no key."
    parser.add_shared("interval", "no_mouse", *QUERY_OPTIONS, *OUTPUT_OPTIONS, "config")
    parser.add_argument("--size", default=40, **valued("N", whole(0, 100_000), "environments (default 40)"))
    parser.add_argument("--seed", default=7, **valued("N", whole(0, 2**63 - 1), "which fleet (default 7)"))
    parser.add_argument(
        "--serve", action="store_true", default=False, help="only the server, until ctrl+c; prints how to use it"
    )


def run(options: Options) -> int:
    """Run the dashboard on a demo server, or the server alone."""
    return _serve(options) if options.serve else _show(options)


def _show(options: Options) -> int:
    """Run the dashboard on a demo server, which starts while the settings are read."""
    from envwatch.cli.commands.dashboard import check_terminal, run_dashboard

    check_terminal()
    from dataclasses import replace

    from envwatch.demo.child import ChildServer

    settings = _settings(options)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(ChildServer.start(options.size, options.seed))
            from pydantic import SecretStr

            from envwatch.config.credentials import Credentials

            credentials = Credentials(key=SecretStr(child.key), base_url=child.ready(), origin="the demo itself")
        except OSError as error:
            raise StopError(Exit.FAILED, f"no demo: {error}") from None
        redactor().learn(child.key)
        limits = replace(settings.limits, requests_per_minute=_UNLIMITED)
        return run_dashboard([(credentials, replace(settings, limits=limits, profile="demo"))], options)


def _settings(options: Options) -> Settings:
    """Return the settings of the default profile, but of variables and file only those for the looks."""
    from envwatch.config.settings import DEMO_SETTINGS, PROFILE

    environ = {name: value for name, value in os.environ.items() if name != PROFILE}
    (settings,) = all_settings_for(options, environ, only=DEMO_SETTINGS)
    return settings


def _serve(options: Options) -> NoReturn:
    """Run the demo server alone until ctrl+c."""
    import secrets
    import signal

    from envwatch.demo.server import serve

    try:
        server = serve(size=options.size, seed=options.seed, key=f"demo-{secrets.token_urlsafe(24)}")
    except OSError as error:
        raise StopError(Exit.FAILED, f"the demo server cannot listen: {error.strerror}") from None
    with server:
        write(f"export LETTA_BASE_URL={server.base_url}\nexport LETTA_API_KEY={server.key}\n".encode())
        print_error(
            f"serving {options.size} environments until ctrl+c: paste these lines into another shell for `envwatch`"
        )
        while True:
            signal.pause()
