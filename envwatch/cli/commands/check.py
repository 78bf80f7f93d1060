"""`envwatch check`: a plugin for Nagios, Icinga and similar systems.

Failures go to standard output with status 3 (UNKNOWN), because 1 and 2 are alerts.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import print_damage, print_hint, print_unmatched_filters, profiles_for
from envwatch.cli.streams import ProgressLine, stdout, write_json, write_text
from envwatch.config.values import duration, path_text
from envwatch.model.redactor import redactor
from envwatch.model.text import clean
from envwatch.watch.profiles import Profiles, matcher_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from envwatch.alerts.monitor import Monitor
    from envwatch.config.settings import Settings
    from envwatch.model.text import SafeText
    from envwatch.views.output.check_result import NagiosRange, PerformanceDatum, PluginStatus

_COUNTED: Final = ("paging", "off", "late", "on", "unrestricted", "behind")
"""Copied from `check_result.Metric`, to spare the parser the import."""
_ENDS: Final = {
    signal.SIGALRM: "no data within {:g} s",
    signal.SIGTERM: "terminated before there was data",
    signal.SIGINT: "interrupted before there was data",
}
_NO_LINE: Final = "the check itself failed: see standard error"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Run as a plugin of a monitoring system: poll once, and print a line with performance\n"
        "data, then a line for each machine that was counted.\n\n"
        "Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (nobody can know, or an option is\n"
        "wrong).\n\n"
        "Without a range, one machine that is off and pages is CRITICAL, unless you have\n"
        "acknowledged or silenced it. A range says which counts are fine: `5` is 0 to 5, `5:`\n"
        "is 5 or more, `5:9` is 5 to 9; `@5:9` turns that around.\n"
        "The settings `filter` and `online_only` do not apply."
    )
    parser.examples = {
        "envwatch check": "is a machine paging?",
        "envwatch check --of off -w 3 -c 10": "more than 3, more than 10 are off",
        "envwatch check --expect hosts.txt": "is any of these machines off?",
    }
    for letter, name in (("w", "warning"), ("c", "critical")):
        about = f"a count outside this range is {name.upper()}"
        parser.add_argument(f"-{letter}", f"--{name}", default=None, **valued("RANGE", _range, about))
    about = f"count these: {_COUNTED[0]} (default), {', '.join(_COUNTED[1:])}"
    parser.add_argument("--of", choices=_COUNTED, default=_COUNTED[0], metavar="KIND", help=about)
    about = "file of names or device ids that must be on, one per line (default: `expect_file`)"
    parser.add_argument("--expect", default=None, **valued("FILE", path_text, about))
    limit = valued("TIME", duration(1, 600), "time limit for all of it (default 10s)")
    parser.add_argument("-t", "--timeout", default=timedelta(seconds=10), **limit)
    parser.add_output("text", "json")
    parser.add_shared("profile", "filter", "page_size", "source", "user", "log_file", "log_level", "config")


def _range(raw: object) -> NagiosRange:
    from envwatch.views.output.check_result import parse_nagios_range

    return parse_nagios_range(str(raw))


def run(options: Options) -> int:
    """Print the result of a check, and return the status."""
    from envwatch.views.output import check_result  # noqa: F401  before a signal may need it

    started_s = time.monotonic()
    stdout()
    limit_s = options.timeout.total_seconds()
    line, is_json = ProgressLine(), options.output == "json"

    def end(number: signal.Signals) -> int:
        line.erase()
        return print_unknown(_ENDS[number].format(limit_s), is_json=is_json)

    with time_limit(limit_s, end):
        status, text, metrics, details = _checked(options, started_s, line)
    _write(status, text, metrics, details, is_json=is_json)
    return status


def _write(
    status: PluginStatus,
    text: SafeText,
    metrics: Sequence[PerformanceDatum] = (),
    details: Sequence[SafeText] = (),
    *,
    is_json: bool,
) -> None:
    from envwatch.views.output.check_result import content_of, output_of

    if is_json:
        write_json(content_of(status, text, metrics, details))
    else:
        write_text(output_of(status, text, metrics, details))


@contextmanager
def time_limit(seconds: float, end: Callable[[signal.Signals], int]) -> Iterator[None]:
    """End this process after `seconds`, or at once on SIGTERM or SIGINT.

    Nothing waits for threads, because a host look-up cannot be ended. `end` gets the signal, SIGALRM after `seconds`,
    and returns the exit code.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        os._exit(end(signal.Signals(number)))

    before = {each: signal.signal(each, leave) for each in _ENDS}
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)


def print_unknown(line: str, *, is_json: bool = False) -> int:
    """Print a failure and return UNKNOWN."""
    from envwatch.views.output.check_result import PluginStatus

    with suppress(StopError):
        _write(PluginStatus.UNKNOWN, clean(redactor()(line or _NO_LINE)), is_json=is_json)
    return PluginStatus.UNKNOWN


def _checked(
    options: Options, started_s: float, line: ProgressLine
) -> tuple[PluginStatus, SafeText, Sequence[PerformanceDatum], Sequence[SafeText]]:
    from envwatch.letta.poller import read_clocks
    from envwatch.query.language import parse
    from envwatch.views.output.check_result import Metric, PerformanceDatum, check_listing

    warning, critical = _ranges(options)
    profiles = profiles_for(options).with_settings(lambda settings: _settings(settings, options))
    monitor, now = _monitor(profiles, options, line), read_clocks()
    matcher = matcher_for(options.filter, profiles.first, monitor.judge(now))
    print_hint(parse(options.filter), monitor.fleet)
    print_unmatched_filters(profiles, monitor.fleet)
    result = check_listing(monitor, Metric(options.of), matcher, now)
    status, text = result.status_and_text(warning, critical)
    metrics = result.metrics(warning, critical)
    took_s, limit_s = time.monotonic() - started_s, options.timeout.total_seconds()
    metrics.append(PerformanceDatum(label="time", value=took_s, unit="s", greatest=limit_s))
    return status, text, metrics, result.details


def _ranges(options: Options) -> tuple[NagiosRange | None, NagiosRange | None]:
    if options.warning is None and options.critical is None:
        if options.of == "online":
            raise StopError(Exit.USAGE, "--of online needs a range: --critical 1: asks for at least 1")
        return None, _range("0")
    return options.warning, options.critical


def _monitor(profiles: Profiles, options: Options, line: ProgressLine) -> Monitor:
    from envwatch.cli.one_listing import outcomes_for, stops_in
    from envwatch.watch.one_listing import monitor_after

    outcomes = outcomes_for(profiles, options, line)
    for stop in stops_in(outcomes, profiles):
        raise stop
    print_damage()
    return monitor_after(outcomes, profiles)


def _settings(settings: Settings, options: Options) -> Settings:
    from dataclasses import replace
    from pathlib import Path

    settings = replace(settings, online_only=False)
    if options.expect is None:
        return settings
    if settings.is_one_of_several:
        raise StopError(Exit.USAGE, "--expect is for one profile; with several, each has its own `expect_file`")
    origins = {**settings.origins, "expect_file": clean("--expect")}
    return replace(settings, expect_file=Path(options.expect), origins=origins)
