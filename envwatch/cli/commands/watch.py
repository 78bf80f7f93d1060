"""`envwatch watch`: prints each transition as a line."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from envwatch.cli.arguments import OUTPUT_OPTIONS, QUERY_OPTIONS, Exit, Options, Parser, valued
from envwatch.cli.bootstrap import (
    deliveries_for,
    future_moment,
    poll_log_for,
    print_hint,
    profiles_for,
    recorded_moment,
    show_line,
    user_name,
    view_for,
)
from envwatch.cli.streams import LineWriter, has_colours, is_utf8, print_error, stdout
from envwatch.config.values import PAST_TEXTS, duration, future, past
from envwatch.model import limits
from envwatch.model.clock import Clocks, WallMs
from envwatch.model.text import SafeText, clean, counted
from envwatch.model.times import configured_zone, date_text, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.config.settings import Settings
    from envwatch.fleet.events import Event
    from envwatch.history.earlier_runs import EarlierRuns, Seam
    from envwatch.history.past import Past
    from envwatch.query.language import Query
    from envwatch.views.events.event_stream import EventStream
    from envwatch.watch.loop import MonitorUpdate
    from envwatch.watch.profiles import Profiles


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print each change as it happens, one per line, until ctrl+c. You also see when\n"
        "envwatch goes blind and when it sees again. `-o jsonl` is one JSON object per line\n"
        "(CloudEvents 1.0). The settings `filter` and `view` do not apply. The exit code is 4\n"
        "if the server keeps refusing the key."
    )
    parser.examples = {
        "envwatch watch": "until ctrl+c",
        "envwatch watch --since 8h --for 1h": "the last eight hours, then one more",
        "envwatch watch --hooks": "and send messages",
    }
    parser.add_output("text", "jsonl")
    parser.add_flag("--initial", "first print all machines")
    about = "first print what was recorded since: 8h, 02:13, yesterday or ISO 8601"
    parser.add_argument(
        "--since",
        default=None,
        **valued("TIME", past(PAST_TEXTS), about),
    )
    parser.add_flag("--hooks", "run the hooks of the configuration file (in one process only)")
    about = "end after this time: 10m, 8h, 1d"
    reader = duration(1, limits.LONGEST_WATCH.total_seconds())
    parser.add_argument("--for", dest="lasts", default=None, **valued("TIME", reader, about))
    about = "end at this time: 15:30, '2026-11-25 15:30' or ISO 8601"
    parser.add_argument("--until", default=None, **valued("TIME", future, about))
    parser.add_shared(*QUERY_OPTIONS, "profile", "view", "interval", "no_history", *OUTPUT_OPTIONS, "config")


def run(options: Options) -> int:
    """Print transitions until the end."""
    from envwatch.cli.running import run_until_signalled

    stdout()
    profiles = profiles_for(options)
    options.since = recorded_moment(profiles, options, "since")
    options.until = None if options.until is None else future_moment(options.until)
    return run_until_signalled(lambda: _watch(profiles, options))


async def _watch(profiles: Profiles, options: Options) -> int:

    from envwatch.cli.running import narrate, refusal_check
    from envwatch.letta.poller import read_clocks
    from envwatch.watch.loop import deadline_after
    from envwatch.watch.monitoring import alerting
    from envwatch.watch.pinging import ServiceManager

    began = read_clocks()
    deadline = deadline_after(began, options.lasts, options.until)
    base_urls = {name: credentials.base_url for name, (credentials, _) in profiles.items()}
    stream = build_stream(options, profiles.first, base_urls, clean(profiles.first.profile))
    stream = replace(stream, has_initial=options.initial, has_colours=has_colours(stdout()))
    narrates = _narrates()
    manager = ServiceManager(os.environ)
    deliveries = deliveries_for(profiles.first, options) if options.hooks else {}
    with (
        closing(LineWriter(stdout().fileno())) as writer,
        manager,
        closing(poll_log_for(options, show_line)) as poll_log,
    ):
        is_recorded = not options.no_history
        alerts = alerting(profiles, poll_log, deliveries, user_name(), deadline, is_recorded=is_recorded)
        async with alerts as (watched, dispatch):
            stop_if_refused = refusal_check(watched.watch.targets)
            with_hooks = f", with {counted(len(dispatch.hooks), 'hook')}" if dispatch.hooks else ""
            print_error(f"envwatch: watching {watched.polled}{with_hooks}{_end(options)}")
            manager.ready()
            has_hint = False
            earlier = await EarlierEvents.read(watched.pasts, options.since, began)
            await writer.write(earlier.lines(stream))
            async for update in watched.watch:
                has_hint = has_hint or print_hint(stream.query, update.monitor.fleet)
                events = earlier.events(update)
                await writer.write(stream.lines(update.before, update.monitor, events, update.changes.now))
                if narrates:
                    narrate(update)
                manager.take(update.changes.outcome)
                if not dispatch.hooks:
                    stop_if_refused(update)
            await writer.finish()
    return Exit.FINE


class EarlierEvents:
    """Recorded events before each profile's first listing.

    The first listing is compared with the last recorded moment, so no event is missing or doubled.
    """

    def __init__(self, runs: Mapping[SafeText, EarlierRuns], since: WallMs) -> None:
        self._runs = dict(runs)
        self._since = since
        self._seams: dict[SafeText, Seam] = {}

    @classmethod
    async def read(cls, pasts: Mapping[SafeText, Past], since: datetime | None, began: Clocks) -> EarlierEvents:
        """Return the events since a moment; none for None or an unreadable history."""
        from envwatch.history.earlier_runs import EarlierRuns
        from envwatch.history.past import HistoryError
        from envwatch.letta.daemon_thread import run_in_daemon_thread

        if since is None:
            return cls({}, began.wall)
        since_ms = WallMs(since.timestamp() * 1000)
        lasts = span(began.wall - since_ms)
        runs: dict[SafeText, EarlierRuns] = {}
        for profile, its_past in pasts.items():
            try:
                runs[profile] = await run_in_daemon_thread(
                    partial(EarlierRuns.read, its_past, profile, lasts, began.wall)
                )
            except HistoryError as error:
                print_error(f"envwatch: {profile and f'{profile}: '}earlier events are missing: {error}")
                runs[profile] = EarlierRuns(profile)
        return cls(runs, since_ms)

    def lines(self, stream: EventStream) -> Iterator[bytes]:
        """Yield the lines of recorded events and gaps."""
        from envwatch.fleet.profile_state import Fleet

        if not self._runs:
            return
        events = [event for runs in self._runs.values() for event in (*runs.events, *runs.gaps(self._since))]
        last = {profile: runs.last.profile_state for profile, runs in self._runs.items() if runs.last is not None}
        yield from stream.past_lines(sorted(events, key=attrgetter("at")), Fleet(last))

    def events(self, update: MonitorUpdate) -> Sequence[Event]:
        """Return an update's events, and at the first listings all events since the recording."""
        profile, outcome, own = update.changes.profile, update.changes.outcome, update.changes.events
        if profile is None or outcome is None or (runs := self._runs.get(profile)) is None:
            return own
        profile_state = update.monitor.fleet.by_profile[profile]
        events: Sequence[Event] = own
        seam = self._seams.get(profile) or runs.seam(profile_state)
        if seam is not None:
            seam, events = seam.after_outcome(outcome, own)
        if update.has_new_listing and profile_state.listings == 1:
            events = runs.until_now(events, profile_state, self._since)
        if seam is not None and not seam.is_over:
            self._seams[profile] = seam
        elif profile_state.listed is not None:
            del self._runs[profile]
        return events


def build_stream(
    options: Options, settings: Settings, base_urls: Mapping[SafeText, str], profile_name: SafeText
) -> EventStream:
    """Return the event stream of standard output, without colours.

    Raises:
        ConfigError: `--view` names no view.
    """
    from envwatch.views.events.cloud_events import source_of
    from envwatch.views.events.event_stream import EventStream

    out = stdout()
    return EventStream(
        sources={name: source_of(base_url) for name, base_url in base_urls.items()},
        is_json=options.output == "jsonl",
        query=_query(options, settings),
        profile_name=profile_name,
        encoding=out.encoding,
        ascii_only=options.ascii or not is_utf8(out),
        zone=configured_zone() or UTC,
    )


def _query(options: Options, settings: Settings) -> Query:
    from envwatch.query.language import Query, parse
    from envwatch.views.table.table_view import View

    rows = view_for(options, settings).chosen(View())
    return Query((*parse(options.filter).terms, *rows.query.terms, *rows.preset.query.terms))


def _end(options: Options) -> str:
    ends = []
    if options.lasts is not None:
        ends.append(f"for {long_age(options.lasts)}")
    if options.until is not None:
        ends.append(f"until {date_text(options.until.timestamp() * 1000, None)}")
    return f" {' or '.join(ends)}" if ends else "; ctrl+c ends it"


def _narrates() -> bool:
    if sys.__stderr__ is None:
        return False
    out, err = os.fstat(stdout().fileno()), os.fstat(sys.__stderr__.fileno())
    return (out.st_dev, out.st_ino) != (err.st_dev, err.st_ino)
