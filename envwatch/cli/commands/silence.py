"""`envwatch silence`: makes, lists and ends silences."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import (
    add_length,
    all_settings_for,
    keep_changes,
    lasts_in,
    print_damage,
    profiles_for,
    user_name,
)
from envwatch.cli.streams import print_error, write, write_json, write_table
from envwatch.model.redactor import ReportedError
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted, one_line, shortened
from envwatch.model.times import date_text
from envwatch.watch.profiles import state_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.silences import Silence
    from envwatch.cli.machines import Target
    from envwatch.config.settings import Settings
    from envwatch.query.language import Query

_Listed: TypeAlias = "tuple[Silence, float | None, float | None, SafeText]"
"""A silence, begin and end in ms (None outside a recurring silence's hours), and a recurring silence's profiles."""
_ACTIONS: Final = {
    "list": "print the silences, also the recurring ones of the file",
    "end": "end a silence; a recurring one only for its present hours",
}
_EXAMPLES: Final = {
    "list": {
        "envwatch silence list": "all of them",
        "envwatch silence list --profile work": "with the recurring ones of a profile",
        "envwatch silence list -o json": "for a program",
    },
    "end": {
        "envwatch silence end 3f2a9c1e": "the one with this id",
        "envwatch silence end 71b0d4c8 -o json": "for a program",
        "envwatch silence end 5ce80a42 && envwatch silence list": "see what is left",
    },
}
_QUERY_CELLS: Final = 48
_LOOK_S: Final = 10


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Keep machines from paging during planned work. The screen and the log still show\n"
        "them, and a silence ends by itself. Every envwatch on this machine knows it from its\n"
        "next poll on. You see what matches before you confirm."
    )
    parser.examples = {
        "envwatch silence web-1 --for 2h": "one machine",
        "envwatch silence 'pod:p-7' --for 30m --note disks": "a pod, with a reason",
        "envwatch silence 'ci-*' --for 1d --yes": "without asking",
    }
    parser.usage = "envwatch silence [OPTION ...] NAME|QUERY | ACTION ..."
    add_length(parser)
    parser.add_argument("--note", **valued("TEXT", one_line, "the reason, for others"))
    parser.add_argument("--yes", action="store_true", help="silence all that match without asking")
    parser.add_output("text", "json")
    parser.add_shared("profile", "config")
    actions = parser.optional_action = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", prog="envwatch silence"
    )
    parser.add_machines()
    for action, summary in _ACTIONS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        action_parser = actions.add_parser(action, help=summary, description=description, examples=_EXAMPLES[action])
        if action == "list":
            action_parser.add_output("table", "json")
        else:
            action_parser.add_output("text", "json")
            action_parser.add_argument("id", metavar="ID", help="the id from `envwatch silence list`, or its beginning")
        action_parser.add_shared("profile", "config")


def run(options: Options) -> int:
    """Make a silence, or run an action."""
    settings: list[Settings] = []
    action = getattr(options, "action", None)
    try:
        settings = all_settings_for(options)
    except ReportedError as stop:
        if action is not None:
            print_error(f"envwatch: without the silences that recur: {stop}")
    match action:
        case "list":
            return _list(options, settings)
        case "end":
            return _end(options, settings)
        case _:
            return _make(options)


def _make(options: Options) -> int:
    from envwatch.alerts.silences import silence_of_query
    from envwatch.cli.machines import confirm, find_target
    from envwatch.model.acks import clean_note
    from envwatch.model.clock import WallMs
    from envwatch.views.events.matching import compile_matcher
    from envwatch.watch.state_file import SILENCES

    target, lasts = find_target(options), lasts_in(options)
    if lasts is None:
        raise StopError(Exit.USAGE, "a silence needs --for TIME or --until TIME; see `envwatch silence --help`")
    query, count, still = _matching(target, options)
    confirm(target, options, "silence", "silenced", count)
    note = clean_note(getattr(options, "note", ""))
    silence = silence_of_query(compile_matcher(str(query)), WallMs(time.time() * 1000), lasts, note, user_name())
    keep_changes("silences", SILENCES, {silence.id: silence})
    if options.output == "json":
        write_json(_json((silence, silence.at, silence.until, EMPTY)))
    else:
        write(f"{silence.id}\n".encode())
    print_error(f"silenced on this machine until {date_text(silence.until, None)}: {target.text}{still}")
    return Exit.FINE


def _matching(target: Target, options: Options) -> tuple[Query, int | None, str]:
    """Write what the target matches.

    Return the query to keep, the number of machines (None for an unknown one), and which serving hosts still page.
    """
    from envwatch.cli.machines import chosen_rows, kept_query, print_choice, refuse_shared_names
    from envwatch.cli.one_listing import outcomes_within, stops_in
    from envwatch.views.output.alert_decisions import still_paging
    from envwatch.views.table.table_view import in_default_order
    from envwatch.watch.one_listing import matching_rows, monitor_after

    try:
        profiles = profiles_for(options).with_settings(lambda settings: replace(settings, online_only=False))
        outcomes = outcomes_within(profiles, _LOOK_S)
        monitor = monitor_after(outcomes, profiles)
    except (ReportedError, TimeoutError) as stop:
        why = str(stop) or f"no data within {_LOOK_S} s"
        print_error(f"{target.text} matches an unknown number of machines: {why}")
        return target.query, None, ""
    failures = "; ".join(map(str, stops_in(outcomes, profiles)))
    if failures and not len(monitor.fleet):
        print_error(f"{target.text} matches an unknown number of machines: {failures}")
        return target.query, None, ""
    refuse_shared_names(target, monitor.fleet)
    is_found = any(matching_rows(target.query, monitor, profiles))
    rows = chosen_rows(target, monitor, profiles) if is_found or not failures else []
    rows = in_default_order({row.key: row for row in rows}.values())
    if target.is_query or failures:
        print_choice(target, rows, f"of {counted(len(monitor.fleet), 'machine')} now", failures)
    count = None if failures else len(rows)
    return kept_query(target, monitor.fleet), count, still_paging(rows, monitor.fleet.server_of)


def _end(options: Options, settings: Sequence[Settings]) -> int:
    from envwatch.cli.machines import id_begun
    from envwatch.model.clock import WallMs
    from envwatch.watch.state_file import SILENCES

    id_: str = options.id
    name = shortened(clean(id_), 40)
    all_listed = _listed(settings)
    found = [listed for listed in all_listed if clean(id_) in {listed[0].id, listed[0].id.rpartition("/")[2]}]
    if not found:
        begun = id_begun(id_, (listed[0].id for listed in all_listed), "silence")
        found = [listed for listed in all_listed if listed[0].id == begun]
    if not found:
        raise StopError(Exit.FAILED, f"there is no silence {name}; `envwatch silence list` prints the current silences")
    if len(found) > 1:
        ids = " or ".join(listed[0].id for listed in found)
        raise StopError(Exit.USAGE, f"several profiles have a silence {name}: end {ids}")
    ((silence, at, until, profiles),) = found
    if until is None:
        raise StopError(Exit.FAILED, f"{name} is not in force now: {_what(silence)}")
    ended = silence.ended(WallMs(time.time() * 1000), user_name())
    keep_changes("silences", SILENCES, {ended.id: ended})
    if options.output == "json":
        write_json(_json((silence, at, time.time() * 1000, profiles)))
    print_error(f"ended: {_what(silence)}")
    return Exit.FINE


def _list(options: Options, settings: Sequence[Settings]) -> int:
    print_damage()
    found = _listed(settings)
    if options.output == "json":
        write_json([_json(each) for each in found])
        return Exit.FINE
    if not found:
        print_error("nothing is silenced")
        return Exit.FINE
    has_profiles = len({profiles for *_, profiles in found if profiles}) > 1
    rows = [("ID", *(["PROFILE"] if has_profiles else []), "UNTIL", "WHAT", "NOTE", "BY")]
    for silence, _, until, profiles in found:
        when = "-" if until is None else date_text(until, None)
        profile = [profiles or "-"] if has_profiles else []
        rows.append((silence.id, *profile, when, _what(silence), silence.note or "-", silence.by or "-"))
    write_table([[composed(cell) for cell in row] for row in rows])
    return Exit.FINE


def _listed(settings: Sequence[Settings]) -> list[_Listed]:
    from envwatch.alerts.silences import hours_at
    from envwatch.model.clock import ServerClock
    from envwatch.views.events.matching import matcher_or_none
    from envwatch.watch.profiles import silences_policy
    from envwatch.watch.state_file import silences_in

    now = time.time() * 1000
    silences = silences_in(state_file("silences"), matcher_or_none)
    current = [each for each in silences.values() if each.until > now and not each.ends]
    once = [(each, each.at, each.until, EMPTY) for each in sorted(current, key=lambda silence: silence.until)]
    recurring: dict[Silence, list[str]] = {}
    for each in settings:
        for silence in silences_policy(each).recurring:
            recurring.setdefault(silence, []).append(each.profile)
    hours = [(each, hours_at(each, now, silences, ServerClock()) or (None, None)) for each in recurring]
    times = Counter(each.id for each in recurring)
    return [
        *once,
        *((_named(each, recurring[each], times), *span, composed(", ".join(recurring[each]))) for each, span in hours),
    ]


def _named(silence: Silence, profiles: Sequence[str], times: Mapping[SafeText, int]) -> Silence:
    """Return a recurring silence with an id that no silence of another profile has: `work/silence-1`."""
    return silence if times[silence.id] == 1 else silence._replace(id=composed(f"{profiles[0]}/{silence.id}"))


def _what(silence: Silence) -> SafeText:
    if silence.hours is not None:
        return shortened(silence.text, _QUERY_CELLS)
    if silence.matcher is not None:
        return shortened(silence.matcher.query, _QUERY_CELLS)
    (_, id_), *others = silence.environments
    return counted(len(silence.environments), "machine") if others else shortened(id_, _QUERY_CELLS)


def _json(listed: _Listed) -> dict[str, object]:
    from envwatch.views.output.formats import iso

    silence, at, until, _ = listed
    hours = silence.hours
    return {
        "id": silence.id,
        "at": iso(at),
        "until": iso(until),
        "query": None if silence.matcher is None else silence.matcher.query,
        "environments": sorted({id_ for _, id_ in silence.environments}),
        "note": silence.note,
        "by": silence.by,
        "days": None if hours is None else hours.days_text,
        "hours": None if hours is None else hours.hours_text,
    }
