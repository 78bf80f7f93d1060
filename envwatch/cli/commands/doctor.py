"""`envwatch doctor`: checks everything from configuration to state folder, with fixes."""

from __future__ import annotations

import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser
from envwatch.cli.streams import has_colours, stdout, write_json, write_text
from envwatch.model.text import composed, counted, wrapped
from envwatch.views.state_style import painted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from envwatch.cli.doctor import Finding
    from envwatch.config.settings import Settings

LABELS: Final = {"ok": "ok", "warning": "WARN", "failure": "FAIL", "skipped": "skip"}
_STYLES: Final = {"ok": "plain", "warning": "late", "failure": "offline", "skipped": "gone"}
_INDENT: Final = 19
_NARROWEST: Final = 30


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Check everything that envwatch needs, from the configuration to the clock, and print\n"
        "each problem with its fix, and a verdict. Nothing is changed. The exit code is 0 if\n"
        "envwatch works here, also with warnings, and 1 otherwise."
    )
    parser.examples = {
        "envwatch doctor": "what is wrong here?",
        "envwatch doctor --verbose": "what is right, too",
        "envwatch doctor -o json > doctor.json": "all checks, for a program",
    }
    parser.add_output("text", "json")
    parser.add_shared("profile", "config")
    parser.add_flag("--verbose", "also print what is right, with measured values")


def run(options: Options) -> int:
    """Print each problem at once; with `-o json`, all at the end."""
    import asyncio

    return asyncio.run(_run(options))


async def _run(options: Options) -> int:
    from envwatch.cli.doctor import safe

    stream = stdout()
    width = (os.get_terminal_size(stream.fileno()).columns or None) if stream.isatty() else None
    is_json = options.output == "json"
    findings: list[Finding] = []
    async for raw in _findings(options):
        findings.append(finding := safe(raw))
        if not is_json and (options.verbose or finding["fix"]):
            _print(finding_lines(finding, width, has_colours=has_colours(stream)))
    if is_json:
        write_json(findings)
    else:
        _print(wrapped_lines(verdict_of(findings), width))
    return Exit.FAILED if any(finding["status"] == "failure" for finding in findings) else Exit.FINE


async def _findings(options: Options) -> AsyncIterator[Finding]:
    from envwatch.cli.doctor import MACHINE, PROFILE, CheckedMachine, CheckedServer, run_checks
    from envwatch.config.settings import Settings

    machine = CheckedMachine(vars(options), os.environ, mistakes=partial(_mistakes, options), refusals=_refusals)
    failed = dict[str, str]()
    async for finding in run_checks(MACHINE, machine, failed):
        yield finding
    for settings in machine.all_settings or [Settings()]:  # without settings, all checks are left out
        profile = settings.profile if settings.is_one_of_several else None
        async with aclosing(CheckedServer(settings, os.environ)) as server:
            async for finding in run_checks(PROFILE, server, {**failed}, profile):
                yield finding


def _mistakes(options: Options) -> Sequence[str]:
    from envwatch.cli.commands.config import document_and_all_mistakes

    return document_and_all_mistakes(options)[1]


def _refusals(settings: Settings) -> Iterable[str]:
    from envwatch.cli.commands.dashboard import screen_mistakes

    return screen_mistakes(settings)


def _print(lines: Iterable[str]) -> None:
    write_text("".join(f"{line}\n" for line in lines))


def finding_lines(finding: Finding, width: int | None, *, has_colours: bool = False) -> list[str]:
    """Return a finding's lines, wrapped unless `width` is None."""
    texts = [f"{_profile_of(finding)}{finding['summary']}", *([f"fix: {finding['fix']}"] if finding["fix"] else [])]
    lines = [line for text in texts for line in wrapped_lines(text, None if width is None else width - _INDENT)]
    label, style = LABELS[finding["status"]], _STYLES[finding["status"]]
    start = f"{painted(label, style) if has_colours else label}{' ' * (6 - len(label))}{finding['id']:<{_INDENT - 6}}"
    return [f"{' ' * _INDENT if number else start}{line}" for number, line in enumerate(lines)]


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return whether envwatch works here, and which rows count."""
    parts = []
    for status in ("failure", "warning"):
        if names := [f"{_profile_of(one)}{one['id']}" for one in findings if one["status"] == status]:
            parts += [f"{counted(len(names), status)} ({', '.join(names)})"]
    if any(one["status"] == "failure" for one in findings):
        skipped = sum("needs" in one["data"] for one in findings)
        return f"envwatch does not work here: {', '.join([*parts, f'{skipped} not checked'] if skipped else parts)}"
    tallies = [f"{_profile_of(one)}{one['data']['tally']}" for one in findings if "tally" in one["data"]]
    return "; ".join([", with ".join(["envwatch works here", *parts]), *tallies, *_ways_of_keys(findings)])


def _ways_of_keys(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield for each profile which key goes to which server, and who chose the server."""
    origins = {one["profile"]: one["data"].get("origin") for one in findings if one["id"] == "key"}
    for one in findings:
        key = origins.get(one["profile"])
        if one["id"] == "address" and key and "base_url" in one["data"]:
            server = f"{one['data']['base_url']} ({one['data']['origin']})"
            yield f"{_profile_of(one)}the key from {key} goes to {server}"


def wrapped_lines(text: str, width: int | None) -> Sequence[str]:
    """Return a text's lines, wrapped unless `width` is None."""
    return [text] if width is None else wrapped(composed(text), max(width, _NARROWEST))


def _profile_of(finding: Finding) -> str:
    return "" if finding["profile"] is None else f"{finding['profile']}: "
