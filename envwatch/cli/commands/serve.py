"""`envwatch serve`: polls once for many viewers."""

from __future__ import annotations

import os
from contextlib import aclosing, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, Options, Parser, valued
from envwatch.cli.bootstrap import deliveries_for, poll_log_for, profiles_for, show_line, user_name
from envwatch.cli.streams import print_error, write
from envwatch.config.values import path_text
from envwatch.model.text import one_line
from envwatch.serve.listening import DEFAULT_ADDRESS, parse_address

if TYPE_CHECKING:
    from envwatch.serve.service import Plan
    from envwatch.watch.profiles import Profiles


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Poll once for many viewers, and serve them the last complete answer with the same\n"
        "API. A viewer sets LETTA_BASE_URL to this server and LETTA_API_KEY to one of its\n"
        "tokens, and never needs the key of the platform. Several profiles (--profile a,b) are\n"
        "served at /profiles/a and /profiles/b. /metrics has series for Prometheus, if the\n"
        "extra `metrics` is installed."
    )
    parser.examples = {
        "envwatch serve": "for this machine",
        "envwatch serve --new-token ann --ack": "a token for ann",
        "envwatch serve --bind 0.0.0.0:8443 --tls-cert cert.pem": "over https",
    }
    about = f"where to listen (default {DEFAULT_ADDRESS}); beyond this machine only with --tls-cert"
    parser.add_argument(
        "--bind", default=parse_address(DEFAULT_ADDRESS), **valued("ADDRESS:PORT", parse_address, about)
    )
    about = "serve https with this certificate and its chain (PEM); renewed files are read again"
    parser.add_argument("--tls-cert", default=None, **valued("PATH", path_text, about))
    about = "the key of the certificate (default: in the same file)"
    parser.add_argument("--tls-key", default=None, **valued("PATH", path_text, about))
    about = "add a token for this viewer, print it once, and end"
    parser.add_argument("--new-token", default=None, **valued("NAME", one_line, about))
    parser.add_flag("--ack", "with --new-token: the viewer may acknowledge for the team")
    parser.add_flag("--hooks", "run the hooks of the configuration file (in one process only)")
    parser.add_shared("profile", "interval", "no_history", "page_size", "log_file", "log_level", "config")


def run(options: Options) -> int:
    """Serve until interrupted, or add a token."""
    from envwatch.cli.serving import check_options, new_token, plan_from

    if options.new_token is not None:
        return new_token(options)
    from envwatch.cli.running import run_until_signalled

    check_options(options)
    # Viewers filter for themselves: rows missing here would be gone for every viewer.
    profiles = profiles_for(options).with_settings(lambda settings: replace(settings, online_only=False))
    with closing(plan_from(profiles, options)) as plan:
        return run_until_signalled(lambda: _serve(profiles, options, plan))


async def _serve(profiles: Profiles, options: Options, plan: Plan) -> int:
    from envwatch.cli.running import narrate
    from envwatch.serve.service import Service
    from envwatch.watch.monitoring import alerting
    from envwatch.watch.pinging import ServiceManager

    manager = ServiceManager(os.environ)
    deliveries = deliveries_for(profiles.first, options) if options.hooks else {}
    with manager, closing(poll_log_for(options, show_line)) as poll_log:
        is_recorded = not options.no_history
        alerts = alerting(profiles, poll_log, deliveries, user_name(), is_recorded=is_recorded)
        async with (
            alerts as (watched, dispatch),
            aclosing(Service(plan, watched)) as service,
        ):
            write("".join(f"export LETTA_BASE_URL={url}\n" for url in plan.base_urls).encode())
            print_error(f"envwatch: serving {watched.polled}; LETTA_API_KEY is {plan.tokens_are}; ctrl+c ends it")
            for text in plan.left_out:
                print_error(f"envwatch: {text}")
            manager.ready()
            async for update in watched.watch:
                failing = dispatch.runner.failing()
                service.take(update, {hook.name: hook.name in failing for hook in dispatch.hooks})
                narrate(update)
                manager.take(update.changes.outcome)
                if update.changes.outcome is None:
                    await service.renew()
    return Exit.FINE
