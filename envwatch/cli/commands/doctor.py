"""`envwatch doctor`: checks everything from configuration to state folder, with fixes."""

from __future__ import annotations

import os
from contextlib import aclosing
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, Options, Parser
from envwatch.cli.streams import has_colours, stdout, write, write_text
from envwatch.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from envwatch.cli.doctor.check import Finding, Result


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Check configuration, key, proxy, certificates, network, listing, clock, terminal\n"
        "and state folder, step by step. Each failure names its remedy. Functions\n"
        "that nobody uses here are only in the JSON. The command changes nothing.\n"
        "The exit code is 0 if envwatch works here, also with warnings, else 1."
    )
    parser.add_shared("profile", "config")
    parser.add_flag("--json", "print an array with an object for each check")


def run(options: Options) -> int:
    """Print each finding at once; with `--json`, all at the end."""
    import asyncio

    stdout()
    return asyncio.run(_run(options))


async def _run(options: Options) -> int:
    from envwatch.cli.doctor.check import CheckStatus, Result, json_of, lines_of, verdict_of

    stream = stdout()
    width = (os.get_terminal_size(stream.fileno()).columns or None) if stream.isatty() else None
    results: list[Result] = []
    async for id_, profile, finding in _findings(options):
        result = Result(id_, profile, finding, redactor())
        if not options.json and not finding.is_unused:
            _print(*lines_of(result, width, has_colours=has_colours(stream)))
        results.append(result)
    if options.json:
        write(json_of(results).encode())
    else:
        _print(*verdict_of(results, width))
    return Exit.FAILED if any(result.status is CheckStatus.FAILURE for result in results) else Exit.FINE


async def _findings(options: Options) -> AsyncIterator[tuple[str, str | None, Finding]]:
    from envwatch.cli.doctor.check import findings_of, skipped
    from envwatch.cli.doctor.machine import CONFIG, MACHINE, MachineContext
    from envwatch.cli.doctor.server import PROFILE, ServerContext

    machine = MachineContext(vars(options), os.environ)
    async for id_, finding in findings_of(CONFIG, machine):
        yield id_, None, finding
    for settings in machine.all_settings:
        server = ServerContext(settings, os.environ)
        name = settings.profile if settings.is_one_of_several else None
        async with aclosing(server):
            async for id_, finding in findings_of(PROFILE, server):
                yield id_, name, finding
    if not machine.all_settings:
        for check in PROFILE:
            yield check.id, None, skipped("not checked, because of config")
    async for id_, finding in findings_of(MACHINE, machine):
        yield id_, None, finding


def _print(*lines: str) -> None:
    write_text("".join(f"{line}\n" for line in lines))
