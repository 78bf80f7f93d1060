"""`envwatch report`: a period's summary for the next person on call. Reads records, asks no server."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from datetime import UTC
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import display_settings_of
from envwatch.cli.streams import print_error, report_stops, stdout, write, write_text
from envwatch.config.values import past, path_text
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, SafeText, clean, shortened
from envwatch.model.times import date_text, moment, past_moment_of
from envwatch.watch.profiles import server_in, state_file

if TYPE_CHECKING:
    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.history.past import Past
    from envwatch.views.report.period import Recorded

_SHIFT: Final = "8h"
_PAST: Final = past("a time in the past like 8h, 02:00 or 'yesterday 14:00', or ISO 8601")


class _Source(NamedTuple):
    profile: SafeText
    host: SafeText
    past: Past
    advice: str
    """What to do without records."""
    acks: Acks | None = None
    server: SafeText = EMPTY


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print a handover report for the next person on call: environments still down,\n"
        "losses, outages, flapping, modes, versions, unwatched time and availability. The\n"
        "command reads the history of the dashboard and `envwatch watch`, and asks no\n"
        "server. The Markdown can be pasted into a chat: no name mentions a person or\n"
        "becomes a link.\n"
        "TIME is 8h, 02:00 (the last one), yesterday, 'yesterday 14:00', or ISO 8601."
    )
    about = 'a recording of `envwatch record`, in place of the history; "now" is the recording\'s end'
    parser.add_argument("file", nargs="?", default=None, **valued("FILE", path_text, about))
    about = f"begin of the period (default {_SHIFT}; for a recording, its begin)"
    parser.add_argument("--since", default=None, **valued("TIME", _PAST, about))
    parser.add_argument("--until", default=None, **valued("TIME", _PAST, "end of the period (default now)"))
    about = "md (Markdown, the default), or json (complete, with exact names)"
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md", metavar="FORMAT", help=about)
    parser.add_shared("filter", "profile", "online_only", "source", "user", "config")


def run(options: Options) -> int:
    """Print the report; name records that are left out, and profiles without a history, on standard error."""
    from envwatch.history.past import HistoryError
    from envwatch.views.output.formats import iso
    from envwatch.views.report.document import json_of, markdown_of
    from envwatch.views.report.sections import report_of

    stdout()
    now = WallMs(time.time() * 1000)
    found: list[Recorded] = []
    stops: list[StopError] = []
    with ExitStack() as stack:
        sources, since, until = _histories(options, now) if options.file is None else _recording(options, stack)
        for source in sources:
            try:
                found.append(_recorded(source, since, until, options.filter))
            except HistoryError as error:
                stops.append(StopError(Exit.FAILED, f"the history of {source.profile} cannot be read: {error}"))
            except StopError as error:
                stops.append(error)
    if not found:
        raise stops[0]
    reports = [report_of(recorded) for recorded in found]
    if options.output == "json":
        query = clean(options.filter) or None
        write(json_of(reports, since=iso(since), until=iso(until), made_at=iso(now), filter=query))
    else:
        write_text(markdown_of(reports))
    for recorded in found:
        profile = f"{recorded.profile}: " if len(sources) > 1 else ""
        for each in recorded.left_out:
            print_error(f"envwatch: {profile}{each.text()}: {each.reason}")
    return report_stops(stops)


def _histories(options: Options, now: WallMs) -> tuple[list[_Source], WallMs, WallMs]:
    from envwatch.cli.stored_history import base_url_of, is_demo, past_of, recorded_settings_for
    from envwatch.storage.state_file import acknowledged

    # Acknowledgements after the last poll are in no record.
    acks = acknowledged(state_file("acknowledged")) if options.until is None else None
    found = recorded_settings_for(options)
    since, until = _period(options, now, None)
    sources = []
    for settings in found:
        base_url = base_url_of(settings)
        host = clean(base_url.partition("://")[2].partition("/")[0])
        advice = "the dashboard, `watch`, `serve` and `metrics` record; for the demo, use --profile demo"
        if not settings.history:
            advice = "the setting `history` is false, so nothing is recorded"
        profile, past, server = clean(settings.profile), past_of(settings, base_url), clean(server_in(base_url))
        known_acks = None if is_demo(settings) else acks
        sources.append(_Source(profile, host, past, advice, known_acks, server))
    return sources, since, until


def _recording(options: Options, stack: ExitStack) -> tuple[list[_Source], WallMs, WallMs]:
    from pathlib import Path

    from envwatch.history.past import HistoryError
    from envwatch.history.stored import RecordedFile

    name = clean(options.file)
    if options.profile is not None:
        raise StopError(Exit.USAGE, "a recording has one profile: leave out --profile")
    display_settings_of(options)  # sets the zone of times
    try:
        past = stack.enter_context(closing(RecordedFile(Path(options.file))))
    except HistoryError as error:
        raise StopError(Exit.FAILED, f"cannot read {name}: {error}") from None
    walls = [poll.at for poll in past.polls()]
    if not walls:
        raise StopError(Exit.FAILED, f"{name} has no poll: the recording was too short, or the file is cut")
    if past.is_cut:
        print_error(f"envwatch: the end of {name} is missing")
    since, until = _period(options, max(walls), min(walls))
    return [_Source(past.about.profile, past.about.host, past, "choose another time")], since, until


def _period(options: Options, end: WallMs, begin: WallMs | None) -> tuple[WallMs, WallMs]:
    """Return the period; times are relative to `end`.

    Without `--since`, the period begins at `begin`, or a shift before `end`.
    """
    what = "the present" if begin is None else "the end of the recording"
    since = begin if begin is not None and options.since is None else _moment(options.since or _SHIFT, end, what)
    until = end if options.until is None else _moment(options.until, end, what)
    if since >= until:
        raise StopError(
            Exit.USAGE,
            f"the period begins at {date_text(since, None)}, which is not before its end, {date_text(until, None)}",
        )
    return since, until


def _moment(text: str, end: WallMs, end_text: str) -> WallMs:

    now = moment(end, UTC)
    if now is None or (at := past_moment_of(text, now)) is None:
        raise StopError(Exit.USAGE, f"{shortened(clean(text), 40)} is after {end_text}, {date_text(end, None)}")
    return WallMs(at.timestamp() * 1000)


def _recorded(source: _Source, since: WallMs, until: WallMs, query: str) -> Recorded:
    from envwatch.views.report.period import matching, recorded_in

    profile, host = source.profile, source.host
    found = recorded_in(source.past, since, until, profile=profile, host=host, acks=source.acks, server=source.server)
    if found is None:
        when = f"from {date_text(since, None)} to {date_text(until, None)}"
        raise StopError(Exit.FAILED, f"nothing was recorded of profile {profile} on {host} {when}; {source.advice}")
    if not query:
        return found
    from envwatch.views.events.matching import matcher_of

    return matching(found, matcher_of(query, profile))
