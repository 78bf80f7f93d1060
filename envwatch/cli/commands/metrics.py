"""`envwatch metrics`: series for Prometheus."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from envwatch.cli.arguments import QUERY_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import poll_log_for, profiles_for, show_line
from envwatch.cli.streams import print_error, report_stops, stdout, write
from envwatch.config.values import path_text, whole_number
from envwatch.files import SharedFile
from envwatch.model.text import SafeText, clean
from envwatch.watch.profiles import Profiles, matcher_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import Matcher
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.serve.exposition import Polls
    from envwatch.watch.log import PollLog
    from envwatch.watch.loop import MonitorUpdate

_Render: TypeAlias = "Callable[[Monitor, Polls, Clocks], bytes]"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print machines and polls as series for Prometheus, once. With --textfile, write them\n"
        "to a file after each poll, until ctrl+c, for the textfile collector of node_exporter,\n"
        "which reads *.prom. The file is removed at the end, because its values would never\n"
        "change again; --once keeps it. `envwatch serve` has the same series.\n\n"
        "Exit codes of a single poll: 3 if a profile gave no answer, 4 if a key is refused;\n"
        "the others are written. The settings `filter` and `online_only` do not apply."
    )
    parser.examples = {
        "envwatch metrics": "print them once",
        "envwatch metrics --textfile letta.prom": "for node_exporter",
        "envwatch metrics --textfile letta.prom --once": "the same, from cron",
    }
    about = "write this file in one step, readable for everybody"
    parser.add_argument("--textfile", default=None, **valued("PATH", path_text, about))
    parser.add_flag("--once", "poll once, write, and end")
    about = "series of their own for this many machines, losses first (default 2000)"
    parser.add_argument("--largest", default=2000, **valued("N", whole_number(0, 100_000), about))
    parser.add_shared(*QUERY_OPTIONS, "profile", "interval", "no_history", "log_file", "log_level", "config")


def run(options: Options) -> int:
    """Write series until interrupted, or once."""
    from importlib.util import find_spec

    from envwatch.cli.running import run_until_signalled

    if find_spec("prometheus_client") is None:
        how = "install envwatch with its extra `metrics`, such as `uv tool install 'envwatch[metrics,apprise]'`"
        raise StopError(Exit.USAGE, f"metrics need another package: {how}")
    if options.textfile is None:
        stdout()
    profiles = profiles_for(options).with_settings(lambda each: replace(each, online_only=options.online_only))
    render = partial(_rendered, matcher_for(options.filter, profiles.first), options.largest)
    is_once = options.once or options.textfile is None
    return run_until_signalled(lambda: _run(profiles, options, render, is_once=is_once))


def _rendered(matcher: Matcher, largest: int, monitor: Monitor, polls: Polls, now: Clocks) -> bytes:
    from envwatch.serve.exposition import exposition

    if matcher.query:
        monitor = _narrowed(monitor, matcher, now)
    return exposition(monitor, polls, now, largest=largest)[0]


def _narrowed(monitor: Monitor, matcher: Matcher, now: Clocks) -> Monitor:
    from envwatch.fleet.profile_state import Fleet

    moments = monitor.fleet.moments(now.wall)
    fleet = {
        profile: replace(
            profile_state,
            environments=MappingProxyType(
                {
                    id_: each
                    for id_, each in profile_state.environments.items()
                    if matcher.matches(each, moments[profile])
                }
            ),
        )
        for profile, profile_state in monitor.fleet.by_profile.items()
    }
    return replace(monitor, fleet=Fleet(MappingProxyType(fleet)))


async def _run(profiles: Profiles, options: Options, render: _Render, *, is_once: bool) -> int:
    with closing(poll_log_for(options, show_line)) as poll_log:
        return await (_once if is_once else _always)(profiles, options, render, poll_log)


async def _once(profiles: Profiles, options: Options, render: _Render, poll_log: PollLog) -> int:
    from envwatch.cli.one_listing import stops_in
    from envwatch.serve.exposition import with_poll
    from envwatch.watch.monitoring import monitoring

    textfile = None if options.textfile is None else Textfile(options.textfile)
    polls: Polls = {}
    outcomes: dict[SafeText, Outcome] = {}
    body = b""
    async with monitoring(profiles, poll_log, is_recorded=False) as watched:
        async for update in watched.watch:
            profile, outcome = update.changes.profile, update.changes.outcome
            if profile is not None and outcome is not None and profile not in outcomes:
                polls = with_poll(polls, profile, outcome)
                outcomes[profile] = outcome
            if len(outcomes) == len(profiles):
                body = render(update.monitor, polls, update.changes.now)
                break
    if textfile is None:
        write(body)
    else:
        textfile.write(body)
    return report_stops(stops_in(outcomes, profiles))


async def _always(profiles: Profiles, options: Options, render: _Render, poll_log: PollLog) -> int:
    from envwatch.cli.running import refusal_check
    from envwatch.serve.exposition import with_poll
    from envwatch.watch.monitoring import monitoring
    from envwatch.watch.pinging import ServiceManager

    manager = ServiceManager(os.environ)
    polls: Polls = {}
    with closing(Textfile(options.textfile)) as textfile, manager:
        async with monitoring(profiles, poll_log, is_recorded=not options.no_history) as watched:
            textfile.warn = poll_log.warn
            stop_if_refused, is_change = refusal_check(watched.watch.targets), change_test()
            print_error(f"envwatch: writing {options.textfile} for {watched.polled}; ctrl+c ends it")
            manager.ready()
            async for update in watched.watch:
                outcome = update.changes.outcome
                polls = with_poll(polls, update.changes.profile, outcome)
                if is_change(update):
                    # In threads: neither a large fleet nor a slow disk may delay polls.
                    body = await asyncio.to_thread(render, update.monitor, polls, update.changes.now)
                    await asyncio.to_thread(textfile.write, body)
                manager.take(outcome)
                stop_if_refused(update)
    return Exit.FINE


class Textfile:
    """A file for node_exporter; outdated values must never stay.

    Raises:
        StopError: the path is no regular file.
    """

    def __init__(self, path: str) -> None:
        self.warn: Callable[[str], None] = print_error
        """Called from any thread when writing fails or works again."""
        self._name = clean(path)
        self._lock = threading.Lock()
        self._is_closed = False
        self._was_written = False
        self._is_failing = False
        try:
            self._file = SharedFile(Path(path))
        except OSError as error:
            raise StopError(Exit.USAGE, f"--textfile {self._name}: {error.strerror}") from None

    def write(self, body: bytes) -> None:
        """Replace the content. If a later write fails, remove the file, and warn once.

        Raises:
            StopError: the first write fails.
        """
        with self._lock:
            if self._is_closed:  # closed by a signal, while a thread waited
                return
            try:
                self._file.write(body)
            except OSError as error:
                trouble = f"cannot write {self._name}: {error.strerror or 'unknown error'}"
                if not self._was_written:
                    raise StopError(Exit.FAILED, trouble) from None
                self._file.remove()
                if not self._is_failing:
                    self.warn(f"{trouble}; it is removed until it can be written again")
                self._is_failing = True
                return
            if self._is_failing:
                self.warn(f"{self._name} is written again")
            self._is_failing, self._was_written = False, True

    def close(self) -> None:
        """Remove the file for good."""
        with self._lock:
            self._is_closed = True
            self._file.remove()


def change_test() -> Callable[[MonitorUpdate], bool]:
    """Return a test for updates that change the series."""
    from envwatch.serve.exposition import is_seen

    blind: frozenset[SafeText] | None = None

    def is_change(update: MonitorUpdate) -> bool:
        nonlocal blind
        fleet, changes = update.monitor.fleet.by_profile, update.changes
        before, blind = blind, frozenset(name for name in fleet if not is_seen(fleet[name], changes.now))
        has_news = changes.outcome is not None or any((changes.events, changes.opened, changes.resolved))
        return has_news or blind != before

    return is_change
