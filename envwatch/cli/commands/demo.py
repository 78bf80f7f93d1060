"""`envwatch demo`: the dashboard on a demo server, or the server alone."""
# ruff: noqa: PLC0415 - imports stand where they are needed

from __future__ import annotations

from contextlib import ExitStack
from typing import NoReturn

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import (
    settings_for_demo,
)
from envwatch.cli.commands.dashboard import _check_terminal, _dashboard
from envwatch.cli.streams import print_error, write
from envwatch.storage.redactor import redactor


def _demo(options: Options) -> int:
    """Run the dashboard on a demo server, which starts while we import."""
    _check_terminal()
    from dataclasses import replace

    from envwatch.demo.child import ChildServer

    settings = settings_for_demo(options)
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
        return _dashboard([(credentials, replace(settings, limits=limits, profile="demo"))], options)


_UNLIMITED = 1_000_000
"""Requests a minute: the server is our own."""


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
