"""`envwatch report`: a period's summary for the next person on call."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import read_display_settings
from envwatch.cli.streams import print_error, report_stops, stdout, write, write_text
from envwatch.config.values import past, path_text
from envwatch.model.clock import WallMs
from envwatch.model.text import clean, shortened
from envwatch.model.times import MS, date_text, moment, parse_past_moment
from envwatch.watch.profiles import state_file

if TYPE_CHECKING:
    from envwatch.cli.stored_history import RecordedProfile

_SHIFT: Final = timedelta(hours=8)
_PAST: Final = past("a time in the past like 8h, 02:00 or 'yesterday 14:00', or ISO 8601")


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print a handover report for the next person on call: what is still down, incidents,\n"
        "outages, flapping, modes, versions, unwatched time and availability. It comes from\n"
        "the history of the dashboard and `envwatch watch`; no server is asked. You can paste\n"
        "the Markdown into a chat: no name mentions a person or becomes a link.\n"
        "TIME is 8h, 02:00 (the last one), yesterday, 'yesterday 14:00' or ISO 8601."
    )
    parser.examples = {
        "envwatch report": "the last eight hours",
        "envwatch report --since 'yesterday 18:00'": "since then",
        "envwatch report night.rec > handover.md": "of a recording",
    }
    about = "a recording of `envwatch record`, in place of the history"
    parser.add_argument("file", nargs="?", default=None, **valued("FILE", path_text, about))
    about = "begin of the period (default 8h, or the begin of the recording)"
    parser.add_argument("--since", default=None, **valued("TIME", _PAST, about))
    parser.add_argument(
        "--until", default=None, **valued("TIME", _PAST, "end of the period (default now, or the end of the recording)")
    )
    parser.add_output("md", "json")
    parser.add_shared("filter", "profile", "online_only", "source", "user", "config")


def run(options: Options) -> int:
    """Print the report; name left-out records and unrecorded profiles on standard error."""
    from envwatch.cli.stored_history import recorded_periods
    from envwatch.views.output.formats import iso
    from envwatch.views.report.document import render_markdown, report_json
    from envwatch.views.report.sections import build_report

    stdout()
    now = WallMs(time.time() * 1000)
    with ExitStack() as stack:
        sources, since, until = _histories(options, now) if options.file is None else _recording(options, stack)
        found, stops = recorded_periods(sources, since, until, options.filter)
    reports = [build_report(recorded) for recorded in found]
    if options.output == "json":
        query = clean(options.filter) or None
        write(report_json(reports, since=iso(since), until=iso(until), made_at=iso(now), filter=query))
    else:
        write_text(render_markdown(reports))
    for recorded in found:
        profile = f"{recorded.profile}: " if len(sources) > 1 else ""
        for each in recorded.left_out:
            print_error(f"envwatch: {profile}{each.text()}: {each.reason}")
    return report_stops(stops)


def _histories(options: Options, now: WallMs) -> tuple[list[RecordedProfile], WallMs, WallMs]:
    from envwatch.cli.stored_history import recorded_profile, recorded_settings_for
    from envwatch.watch.state_file import acknowledged

    # Acknowledgements after the last poll are in no record.
    acks = acknowledged(state_file("acknowledged")) if options.until is None else None
    all_settings = recorded_settings_for(options)
    since, until = _period(options, now, None)
    return [recorded_profile(settings, acks) for settings in all_settings], since, until


def _recording(options: Options, stack: ExitStack) -> tuple[list[RecordedProfile], WallMs, WallMs]:
    from pathlib import Path

    from envwatch.cli.stored_history import RecordedProfile
    from envwatch.history.past import HistoryError
    from envwatch.history.stored import RecordedFile

    name = clean(options.file)
    if options.profile is not None:
        raise StopError(Exit.USAGE, "a recording has one profile: leave out --profile")
    read_display_settings(options)  # sets the zone of times
    try:
        past = stack.enter_context(closing(RecordedFile(Path(options.file))))
    except HistoryError as error:
        raise StopError(Exit.USAGE, f"cannot read {name}: {error}") from None
    walls = [poll.at for poll in past.polls()]
    if not walls:
        raise StopError(Exit.FAILED, f"{name} has no poll: the recording was too short, or the file is cut")
    if past.is_cut:
        print_error(f"envwatch: the end of {name} is missing")
    since, until = _period(options, max(walls), min(walls))
    return [RecordedProfile(past.about.profile, past.about.host, past, "choose another time")], since, until


def _period(options: Options, end: WallMs, begin: WallMs | None) -> tuple[WallMs, WallMs]:
    what = "the present" if begin is None else "the end of the recording"
    default = WallMs(end - _SHIFT / MS) if begin is None else begin
    since = default if options.since is None else _moment(options.since, end, what)
    until = end if options.until is None else _moment(options.until, end, what)
    if since >= until:
        text = f"the period begins at {date_text(since, None)}, which is not before its end, {date_text(until, None)}"
        raise StopError(Exit.USAGE, text)
    return since, until


def _moment(text: str, end: WallMs, end_text: str) -> WallMs:
    now = moment(end, UTC)
    if now is None or (at := parse_past_moment(text, now)) is None:
        raise StopError(Exit.USAGE, f"{shortened(clean(text), 40)} is after {end_text}, {date_text(end, None)}")
    return WallMs(at.timestamp() * 1000)
