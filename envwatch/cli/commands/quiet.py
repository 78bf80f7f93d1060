"""`envwatch quiet`: suggests quiet hours by the recorded history. Reads records, asks no server, writes no file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.streams import print_error, stdout, write
from envwatch.config.values import past
from envwatch.model.text import clean, counted, enumerated, shortened
from envwatch.model.times import date_text

if TYPE_CHECKING:
    from envwatch.config.settings import Settings
    from envwatch.model.clock import WallMs
    from envwatch.views.report.quiet_suggestion import QuietSuggestions

_SINCE: Final = "28d"
_SUGGEST: Final = "print quiet hours for environments that are off at the same hours on most days"
_NAMES: Final = 5
_NAME_CELLS: Final = 40


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = "A loss in quiet hours raises no alert: tables [[quiet]] of the configuration file."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    suggest = actions.add_parser(
        "suggest",
        help=_SUGGEST,
        description=(
            f"{_SUGGEST[0].upper()}{_SUGGEST[1:]}.\n"
            "The command reads the history of the dashboard and `envwatch watch`, and writes\n"
            "no file: paste the lines that you agree with into the configuration file.\n"
            "Comments have the names, and the share of days on which the hours were kept."
        ),
    )
    about = f"begin of the period (default {_SINCE})"
    reader = past("a time in the past like 14d or 'yesterday 14:00', or ISO 8601")
    suggest.add_argument("--since", default=_SINCE, **valued("TIME", reader, about))
    about = "toml (tables to paste, the default), or json (complete, with ids)"
    suggest.add_argument("-o", "--output", choices=("toml", "json"), default="toml", metavar="FORMAT", help=about)
    suggest.add_shared("filter", "profile", "config")


def run(options: Options) -> int:
    """Print the suggestions; name profiles without enough history on standard error."""
    from envwatch.cli.stored_history import recorded_settings_for
    from envwatch.model.clock import WallMs
    from envwatch.past.history import HistoryError

    stdout()
    now = WallMs(time.time() * 1000)
    found: list[tuple[QuietSuggestions, Settings]] = []
    stops: list[StopError] = []
    for settings in recorded_settings_for(options):
        try:
            found.append((_suggestions(settings, options, now), settings))
        except HistoryError as error:
            name = clean(settings.profile)
            stops.append(StopError(Exit.FAILED, f"the history of {name} cannot be read: {error}"))
        except StopError as stop:
            stops.append(stop)
    if not found:
        raise stops[0]
    _print(found, options)
    for each in stops:
        print_error(f"envwatch: {each}")
    return max((each.code for each in stops), default=Exit.FINE)


def _suggestions(settings: Settings, options: Options, now: WallMs) -> QuietSuggestions:
    from envwatch.cli.bootstrap import matcher_for, past_moment, policy_for
    from envwatch.cli.stored_history import base_url_of, past_of
    from envwatch.model.clock import WallMs
    from envwatch.views.report.profile_report import recorded_in
    from envwatch.views.report.quiet_suggestion import suggestions_in

    base_url = base_url_of(settings)
    profile, host = clean(settings.profile), clean(base_url.partition("://")[2].partition("/")[0])
    since = WallMs(past_moment(options.since).timestamp() * 1000)
    recorded = recorded_in(past_of(settings, base_url), since, now, profile=profile, host=host)
    if recorded is None:
        advice = "the dashboard, `watch`, `serve` and `metrics` record"
        if not settings.history:
            advice = "the setting `history` is false, so nothing is recorded"
        line = f"nothing was recorded of profile {profile} on {host} since {date_text(since, None)}; {advice}"
        raise StopError(Exit.FAILED, line)
    found = suggestions_in(recorded, policy_for(settings), matcher_for(options.filter, settings))
    if not found.is_watched_enough:
        raise StopError(Exit.FAILED, _too_few(found))
    return found


def _too_few(found: QuietSuggestions) -> str:
    from envwatch.past.habits import LEAST_WEEKEND_DAYS, LEAST_WORKDAYS

    watched = f"{counted(found.workdays, 'workday')} and {counted(found.weekend_days, 'day')} of weekends"
    return (
        f"too few days were watched of profile {found.profile}: {watched}; "
        f"habits show after {LEAST_WORKDAYS} and {LEAST_WEEKEND_DAYS}"
    )


def _print(found: list[tuple[QuietSuggestions, Settings]], options: Options) -> None:
    from envwatch.views.report.quiet_suggestion import json_of, tables_of

    if options.output == "json":
        write(json_of(each for each, _ in found))
    else:
        texts = (tables_of(each, _section(settings)) for each, settings in found)
        write("\n".join(text for text in texts if text).encode())  # TOML is UTF-8
    for each, settings in found:
        profile, names = each.profile, [shortened(row.environment.label, _NAME_CELLS) for row in each.covered[:_NAMES]]
        days = f"{each.workdays} workdays and {each.weekend_days} days of weekends"
        zone = settings.timezone or "this machine"
        print_error(f"{profile}: {days} since {date_text(each.since, None)}, by the clocks of {zone}")
        if names:
            print_error(f"{profile}: quiet hours cover already: {enumerated(names, len(each.covered))}")
        if not each.suggestions:
            print_error(f"{profile}: no {'other ' if names else ''}environment is off at the same hours on most days")


def _section(settings: Settings) -> str:
    """Return the profile of the tables' section; empty for the top of the file."""
    return settings.profile_in_file if "quiet" in settings.own or not settings.quiet else ""
