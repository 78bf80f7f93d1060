"""`envwatch alerts`: lists and sets which losses need a person."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import QUERY_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import keep_changes, past_moment, print_damage, print_hint, profiles_for, user_name
from envwatch.cli.streams import ProgressLine, print_error, report_stops, stdout, write, write_table
from envwatch.config.values import past
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, SafeText, clean, counted
from envwatch.watch.profiles import Profiles, policies_for, policy_for, state_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.alerts.alert_policy import Word
    from envwatch.alerts.monitor import Monitor
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.report.outages import PastLosses
    from envwatch.views.report.period import Recorded

_WORDS: Final = {"always": True, "never": False, "auto": None}
_PAST: Final = past("a time in the past like 7d, 02:00 or yesterday, or ISO 8601")


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = "Which machines page when they go down, and why. `alerts` alone is `alerts list`."
    parser.examples = {
        "envwatch alerts": "which machines page, and why",
        "envwatch alerts set laptop-zoe never": "override that for one machine",
        "envwatch alerts --since 7d": "how often you would have been paged",
    }
    parser.default_action = "list"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    list_parser = actions.add_parser(
        "list",
        help="print which machines page and why, or past outages",
        description=(
            "Print every machine, whether it pages when it goes down, and why: it is expected, you\n"
            "overrode it, it is a sandbox, `alert` names it, it is up most of the time, and so on.\n"
            "With --since, print the recorded outages that would have paged; this reads the\n"
            "history and asks no server."
        ),
        examples={
            "envwatch alerts list": "all of them",
            "envwatch alerts list --filter 'pod:p-7'": "some of them",
            "envwatch alerts list --since 7d -o json": "outages of a week, for a program",
        },
    )
    list_parser.add_output("table", "json")
    about = "outages since then: 7d, yesterday or ISO 8601"
    list_parser.add_argument("--since", **valued("TIME", _PAST, about))
    list_parser.add_shared(*QUERY_OPTIONS, "profile", "log_file", "log_level", "config")
    set_parser = actions.add_parser(
        "set",
        help="override whether machines page: always, never or auto",
        description=(
            "Override whether machines page: always, never, or auto for what the rules say. Every\n"
            "envwatch on this machine knows it from its next poll on. A machine that replaces\n"
            "another one takes over its override."
        ),
        examples={
            "envwatch alerts set laptop-zoe never": "it pages nobody",
            "envwatch alerts set 'ci-*' always --yes": "all that match now, without asking",
            "envwatch alerts set laptop-zoe auto": "back to the rules",
        },
    )
    set_parser.add_output("text", "json")
    set_parser.add_machines()
    set_parser.add_argument("word", choices=tuple(_WORDS), metavar="always|never|auto", help="the override")
    set_parser.add_flag("--yes", "override all that match without asking")
    set_parser.add_shared("profile", "config")


def run(options: Options) -> int:
    """List the decisions or the past losses, or set a word."""
    stdout()
    if getattr(options, "action", None) == "set":
        return _set(options)
    since: str | None = getattr(options, "since", None)
    return _list(options) if since is None else _list_past(options, past_moment(since))


def _list(options: Options) -> int:
    from envwatch.letta.poller import read_clocks
    from envwatch.query.language import parse
    from envwatch.views.output import alert_decisions
    from envwatch.watch.one_listing import matching_rows

    profiles = profiles_for(options)
    stops, monitor = _listed(profiles, options)
    found = [*matching_rows(parse(options.filter), monitor, profiles)]
    rows = alert_decisions.decided_rows(found, monitor, read_clocks())
    if any(profile_state.listed is not None for profile_state in monitor.fleet):
        if options.output == "json":
            write(alert_decisions.decisions_json(rows))
        else:
            write_table(alert_decisions.decisions_table(rows))
            print_error(alert_decisions.decisions_tally(rows))
    print_hint(parse(options.filter), monitor.fleet)
    return report_stops(stops)


def _listed(profiles: Profiles, options: Options) -> tuple[Sequence[StopError], Monitor]:
    from envwatch.cli.one_listing import outcomes_for, stops_in
    from envwatch.watch.one_listing import monitor_after

    policies_for(profiles)  # stop early if `expect_file` is unreadable
    outcomes = outcomes_for(profiles, options, ProgressLine())
    print_damage()
    return stops_in(outcomes, profiles), monitor_after(outcomes, profiles)


def _set(options: Options) -> int:
    from envwatch.alerts.acknowledgements import with_changes
    from envwatch.cli.machines import chosen_rows, confirm, find_target, print_choice
    from envwatch.letta.poller import read_clocks
    from envwatch.views.output.alert_decisions import answer_to_word, decided_rows, decisions_json
    from envwatch.watch.state_file import WORDS

    target = find_target(options)
    profiles = profiles_for(options)
    stops, monitor = _listed(profiles, options)
    if code := report_stops(stops):
        return code
    rows = chosen_rows(target, monitor, profiles)
    if target.is_query:
        print_choice(target, rows, f"of {counted(len(monitor.fleet), 'machine')} now")
        print_error("only these get the override: a machine that comes later follows the rules")
    confirm(target, options, "override", "overridden", len(rows))
    changes = _changes(rows, options.word, monitor)
    keep_changes("alerts-by-hand", WORDS, changes)
    now = read_clocks()
    monitor, _ = monitor.with_words(with_changes(monitor.words, changes), now)
    decided = decided_rows(rows, monitor, now)
    if options.output == "json":
        write(decisions_json(decided))
    print_error(answer_to_word(decided, "`envwatch alerts set`", server_of=monitor.fleet.server_of))
    return Exit.FINE


def _changes(rows: Sequence[TrackedEnvironment], word: str, monitor: Monitor) -> Mapping[ServerKey, Word | None]:
    from envwatch.alerts.alert_policy import Word

    is_always = _WORDS[word]
    value = None if is_always is None else Word(is_always, WallMs(time.time() * 1000), user_name())
    return {(monitor.fleet.server_of(row.profile), row.environment.id): value for row in rows}


def _list_past(options: Options, since: datetime) -> int:
    from envwatch.cli.stored_history import recorded_periods, recorded_profile, recorded_settings_for
    from envwatch.views.report import outages

    by_profile = {clean(settings.profile): settings for settings in recorded_settings_for(options)}
    begin, until = WallMs(since.timestamp() * 1000), WallMs(time.time() * 1000)
    sources = [recorded_profile(settings) for settings in by_profile.values()]
    found, stops = recorded_periods(sources, begin, until, options.filter)
    parts = [_past_losses(recorded, by_profile[recorded.profile], has_profiles=len(sources) > 1) for recorded in found]
    losses = outages.joined(parts)
    if options.output == "json":
        write(outages.outages_json(losses))
    else:
        write_table(outages.outages_table(losses))
        print_error(outages.outages_tally(losses))
    return report_stops(stops)


def _past_losses(recorded: Recorded, settings: Settings, *, has_profiles: bool) -> PastLosses:
    from envwatch.alerts.alert_policy import word_for
    from envwatch.views.report.outages import outages_in, past_losses
    from envwatch.views.report.period import rows_of
    from envwatch.watch.state_file import words_in
    from envwatch.watch.state_files import stored_record

    server = recorded.last.profile_state.server
    words, record = words_in(state_file("alerts-by-hand")), stored_record(server, settings)
    policy, rows = policy_for(settings), rows_of(recorded)

    def counts(id_: SafeText) -> bool:
        if (row := rows.get(id_)) is None:
            return False
        row = replace(row, uptime=None if record is None else record.rows.get(id_))
        return policy.decision(row, word_for(words, server, id_), recorded.span.until).counts

    return past_losses(outages_in(recorded), counts, policy.alert_after, recorded.profile if has_profiles else EMPTY)
