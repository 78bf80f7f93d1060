"""`envwatch ack`: acknowledges problems, and lists and ends acknowledgements."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import add_length, keep_changes, lasts_in, print_damage, profiles_for, user_name
from envwatch.cli.streams import ProgressLine, print_error, report_stops, write, write_json, write_table
from envwatch.model.acks import UUID, AckResult, clean_note, new_uuid
from envwatch.model.clock import WallMs
from envwatch.model.outcome import Cause, Failed, Listed
from envwatch.model.redactor import ReportedError
from envwatch.model.text import EMPTY, SafeText, clean, composed, enumerated, one_line, shortened
from envwatch.model.times import date_text, minutes_age, span
from envwatch.watch.acknowledging import (
    Answer,
    RowAnswer,
    Shared,
    TeamServers,
    Terms,
    ack_in_force,
    acked_blindness,
    acks_here,
    answers_for,
    blindness_key,
    change_shared,
    common_answer,
    ended_here,
    known_acks_here,
    parts_of,
    server_key,
    server_moments,
    share,
    shared_acks_of,
)
from envwatch.watch.clients import client_for
from envwatch.watch.profiles import Profiles, server_host, state_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.cli.machines import Target
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import Ack, AckedRow
    from envwatch.model.outcome import SourceError

_INCIDENT: Final = re.compile(r"inc-[0-9a-f]{4,12}")
_LOOK_S: Final = 10
_NAMES: Final = 3
_NAME_CELLS: Final = 40
_BLINDNESS: Final = clean("platform or envwatch")
_ARGUMENT: Final = "NAME|QUERY|INCIDENT"
_ID_CELLS: Final = 8
_ID_BEGIN: Final = re.compile(r"[0-9a-f]{4,8}|[0-9a-f]{8}-[0-9a-f-]*")


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.usage = "envwatch ack [OPTION ...] NAME|QUERY|INCIDENT | ACTION ..."
    parser.description = (
        "Acknowledge machines that are down: you work on them, so they page nobody, and stay\n"
        "on the screen. This lasts until a machine is back, or for the time you give. If your\n"
        "server is `envwatch serve`, the whole team sees it; otherwise only you do, on this\n"
        "machine."
    )
    parser.examples = {
        "envwatch ack web-2": "until web-2 is back",
        "envwatch ack 'pod:p-7' --note \"psu in rack 4\"": "all that are down in a pod",
        "envwatch ack 'web-*' --for 4h --yes": "for a time, without asking",
    }
    parser.add_argument("--note", **valued("TEXT", one_line, "what you do about it, for others"))
    add_length(parser, " (default: until it is back)")
    parser.add_argument("--yes", action="store_true", help="acknowledge all that match without asking")
    parser.add_output("text", "json")
    parser.add_shared("profile", "config")
    actions = parser.optional_action = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", prog="envwatch ack"
    )
    parser.add_machines(_ARGUMENT, about="a name or id, a query: 'pod:p-7', or an incident's id: inc-…")
    list_parser = actions.add_parser(
        "list",
        help="print the acknowledgements in force",
        description="Print the acknowledgements in force, yours and those of the team.",
        examples={
            "envwatch ack list": "all of them",
            "envwatch ack list --filter 'pod:p-7'": "of some machines",
            "envwatch ack list -o json": "for a program",
        },
    )
    list_parser.add_output("table", "json")
    list_parser.add_shared("filter", "profile", "config")
    end_parser = actions.add_parser(
        "end",
        help="end acknowledgements, so that machines page again",
        description=(
            "End acknowledgements. A machine that is still off pages again. On a team's server, an\n"
            "acknowledgement ends as a whole, for all its machines."
        ),
        examples={
            "envwatch ack end web-2": "of one machine",
            "envwatch ack end 'pod:p-7'": "of a pod",
            "envwatch ack end 'acked:yes'": "all of them",
        },
    )
    end_parser.add_output("text", "json")
    end_parser.add_machines(f"{_ARGUMENT}|ID", about="as for `envwatch ack`, or an acknowledgement's id")
    end_parser.add_shared("profile", "config")


def run(options: Options) -> int:
    """Acknowledge problems, or run an action."""
    action = getattr(options, "action", None)
    if action == "list":
        return _list(options)
    answer = _Answer(options)
    code = _end(options, answer) if action == "end" else _make(options, answer)
    answer.end()
    return code


class _Answer:
    """What goes to standard output: an id for each new acknowledgement at once, or all acknowledgements as JSON."""

    def __init__(self, options: Options) -> None:
        self._is_json = options.output == "json"
        self._acks: list[dict[str, object]] = []

    def add(self, uuid: SafeText, until: float | None, ids: Iterable[SafeText], *, is_new: bool = True) -> None:
        """Add an acknowledgement of rows, or of an incident without rows."""
        from envwatch.views.output.formats import iso

        self._acks.append({"uuid": uuid, "until": iso(until), "environments": sorted(filter(None, ids))})
        if is_new and not self._is_json:
            write(f"{uuid[:_ID_CELLS]}\n".encode())

    def end(self) -> None:
        """Write the JSON, if asked for."""
        if self._is_json:
            write_json(self._acks)


class _Found(NamedTuple):
    profiles: Profiles
    monitor: Monitor
    outcomes: Mapping[SafeText, Listed | Failed]

    @property
    def fleet(self) -> Fleet:
        return self.monitor.fleet

    @property
    def servers(self) -> TeamServers:
        """The profiles whose server is envwatch."""
        listed = {name: each.snapshot for name, each in self.outcomes.items() if isinstance(each, Listed)}
        served = {name: snapshot.served for name, snapshot in listed.items() if snapshot.served is not None}
        teams = {name: relay for name, relay in served.items() if relay.is_envwatch}
        return TeamServers(frozenset(teams), frozenset(name for name, relay in teams.items() if not relay.may_ack))

    @property
    def judge(self) -> Judge:
        from envwatch.letta.poller import read_clocks

        return self.monitor.judge(read_clocks())

    def ack_of(self, row: TrackedEnvironment) -> Ack | None:
        return ack_in_force(row, self.judge)


def _wall() -> WallMs:
    return WallMs(time.time() * 1000)


def _names(rows: Iterable[TrackedEnvironment]) -> SafeText:
    names = [shortened(row.environment.label, _NAME_CELLS, keep="ends") for row in rows]
    return composed(enumerated(names[:_NAMES], len(names)))


def _listed(options: Options) -> tuple[_Found, Sequence[StopError]]:
    from envwatch.cli.one_listing import outcomes_for, stops_in
    from envwatch.watch.one_listing import monitor_after

    profiles = profiles_for(options).with_settings(lambda settings: replace(settings, online_only=False))
    outcomes = outcomes_for(profiles, options, ProgressLine())
    return _Found(profiles, monitor_after(outcomes, profiles), outcomes), stops_in(outcomes, profiles)


def _chosen(target: Target, found: _Found) -> Sequence[TrackedEnvironment]:
    from envwatch.cli.machines import chosen_rows, id_begun
    from envwatch.model.shared_marks import shared_incident_of

    what = target.text
    rows: Sequence[TrackedEnvironment]
    if _INCIDENT.fullmatch(what) and not target.is_literal:
        fleet, incidents = [*found.fleet.environments], found.monitor.incidents
        known = {*incidents.ids.values(), *(shared_incident_of(row.environment) for row in fleet)}
        what = id_begun(what, known, "incident") or what
        lost = incidents.lost_in(what)
        rows = [row for row in fleet if row.key in lost or shared_incident_of(row.environment) == what]
        if not rows:
            line = f"no open incident is called {what}: its machines may be back; `envwatch list` says what is off"
            raise StopError(Exit.FAILED, line)
    else:
        rows = chosen_rows(target, found.monitor, found.profiles)
    # Profiles of a server share machines.
    return [*{server_key(row, found.fleet): row for row in rows}.values()]


def _make(options: Options, answer: _Answer) -> int:
    from envwatch.cli.machines import confirm, find_target, print_choice

    target = find_target(options, _ARGUMENT)
    profiles = profiles_for(options)
    terms = Terms(clean_note(getattr(options, "note", "")), lasts_in(options))
    if (incident := _blindness(target, profiles)) is not None:
        return _acknowledge_blindness(incident, profiles.servers[incident.profile], terms, answer)
    found, stops = _listed(options)
    if code := report_stops(stops):
        return code
    servers = found.servers
    answers = answers_for(_chosen(target, found), found.judge, servers)
    acked = [
        (_already(each.ack.by, each.ack.at, each.row, found), each.row)
        for each in answers
        if each.answer is Answer.ACKED and each.ack is not None
    ]
    _say(acked)
    problems = [each.row for each in answers if each.answer in {Answer.OPEN, Answer.ACKED_HERE}]
    others = [each for each in answers if each.answer in {Answer.LATE, Answer.UP, Answer.NO_LOSS}]
    if others and not (target.is_query and problems):
        print_error(f"nothing to acknowledge: {_why_nothing(others)}")
    if not problems:
        return Exit.FINE if acked else Exit.FAILED
    if refused := [row for row in problems if servers.refuses(row)]:
        return _only_reads("acknowledged", found, refused[0].profile)
    if target.is_query:
        print_choice(target, problems, "that is down" if len(problems) == 1 else "that are down")
    confirm(target, options, "acknowledge", "acknowledged", len(problems))
    here = [row for row in problems if not servers.keeps_ack_of(row)]
    at_servers = [row for row in problems if servers.keeps_ack_of(row)]
    if here:
        _acknowledge_here(here, found, terms, answer)
    return max((_share(part, found, terms, answer) for part in parts_of(at_servers)), default=Exit.FINE)


def _why_nothing(others: Sequence[RowAnswer]) -> str:
    names, reason = _names(each.row for each in others), common_answer(others)
    if reason is Answer.LATE:
        return f"{names} late, not lost; `envwatch silence` silences a loss beforehand"
    if reason is Answer.UP:
        return f"{names} {'is' if len(others) == 1 else 'are'} up"
    return f"{names}, no loss"


def _blindness(target: Target, profiles: Profiles) -> Incident | None:
    """Return a stored incident about the platform or envwatch, without asking the server, who may not answer."""
    if not _INCIDENT.fullmatch(target.text) or target.is_literal:
        return None
    from envwatch.cli.machines import id_begun
    from envwatch.letta.poller import read_clocks
    from envwatch.watch.alert_files import earlier_alerts

    states = (earlier_alerts(name, profile, read_clocks()) for name, profile in profiles.items())
    opened = [incident for state in states if state is not None for incident in state.open]
    id_ = id_begun(target.text, (incident.id for incident in opened), "incident")
    return next((incident for incident in opened if incident.is_blindness and incident.id == id_), None)


def _acknowledge_blindness(incident: Incident, server: SafeText, terms: Terms, answer: _Answer) -> Exit:
    from envwatch.alerts.incident import losses_text
    from envwatch.watch.state_file import ACKNOWLEDGEMENTS

    uuid = new_uuid()
    acks = acked_blindness(incident, server, terms, _wall(), uuid)
    keep_changes("acknowledged", ACKNOWLEDGEMENTS, acks)
    (ack,) = acks.values()
    answer.add(uuid, ack.until, ())
    until = "until this ends" if ack.until is None else f"until {date_text(ack.until, None)}"
    print_error(f"acknowledged on this machine {until}: {losses_text([incident])}")
    return Exit.FINE


def _already(by: SafeText, at: float | None, row: TrackedEnvironment, found: _Found) -> str:
    ago = "" if at is None else f", {minutes_age(span(found.fleet.moments(_wall())[row.profile] - at))} ago"
    return f"already acknowledged {f'by {by}' if by else 'here'}{ago}"


def _say(results: Sequence[tuple[str, TrackedEnvironment]]) -> None:
    for result in dict.fromkeys(result for result, _ in results):
        print_error(f"{result}: {_names(row for each, row in results if each == result)}")


def _acknowledge_here(rows: Sequence[TrackedEnvironment], found: _Found, terms: Terms, answer: _Answer) -> None:
    from envwatch.watch.state_file import ACKNOWLEDGEMENTS

    uuid = new_uuid()
    acks = acks_here(rows, terms, found.fleet, _wall(), uuid)
    keep_changes("acknowledged", ACKNOWLEDGEMENTS, acks)
    until = next(iter(acks.values())).until
    answer.add(uuid, until, (id_ for _, id_ in acks))
    print_error(_done(rows, until, "on this machine"))


def _share(rows: Sequence[TrackedEnvironment], found: _Found, terms: Terms, answer: _Answer) -> Exit:
    profile = rows[0].profile
    until = terms.until(found.fleet.moments(_wall())[profile])
    shared = asyncio.run(_shared(rows, found, terms))
    if shared.error is not None:
        return _refused("acknowledged", shared.error)
    acked, code = _report(shared.results, found)
    if acked:
        answer.add(shared.uuid, until, (row.environment.id for same in acked.values() for row in same))
    host = server_host(found.profiles[profile].credentials)
    for above, same in acked.items():
        where = f"for {'viewers' if above else 'everybody'} at {host}"
        print_error(f"{_done(same, until, where)}{f'; {above} still pages' if above else ''}")
    return code


async def _shared(rows: Sequence[TrackedEnvironment], found: _Found, terms: Terms) -> Shared:
    async with client_for(*found.profiles[rows[0].profile]) as client:
        return await share(client, rows, terms)


def _done(rows: Sequence[TrackedEnvironment], until: float | None, where: str) -> str:
    back = "it is" if len(rows) == 1 else "they are"
    when = f"until {back} back" if until is None else f"until {date_text(until, None)}"
    return f"acknowledged {where} {when}: {_names(rows)}"


def _refused(what: str, error: SourceError) -> Exit:
    print_error(f"envwatch: not {what}: {error}")
    cause = error.failure.cause
    if cause.is_refusal:
        return Exit.AUTHENTICATION
    return Exit.UNREACHABLE if cause in {Cause.UNREACHABLE, Cause.TIMEOUT, Cause.TLS} else Exit.FAILED


def _only_reads(what: str, found: _Found, profile: SafeText) -> Exit:
    from envwatch.views.output.alert_decisions import read_only_text

    why = read_only_text(found.fleet.server_of(profile), "`envwatch silence`")
    print_error(f"envwatch: not {what}: {why}")
    return Exit.AUTHENTICATION


def _report(
    results: Sequence[tuple[TrackedEnvironment, AckedRow]], found: _Found
) -> tuple[Mapping[SafeText, Sequence[TrackedEnvironment]], Exit]:
    """Report the rows that are not acknowledged now; return the others by the upper server that still pages."""
    from envwatch.views.report.chat import ACK_RESULTS

    lines: list[tuple[str, TrackedEnvironment]] = []
    code = Exit.FINE
    acked: dict[SafeText, list[TrackedEnvironment]] = {}
    for row, got in results:
        if got.result is AckResult.ACKED:
            acked.setdefault(got.still_pages, []).append(row)
        elif got.result is AckResult.ALREADY:
            lines.append((_already(got.by, got.at, row, found), row))
        else:
            lines.append((ACK_RESULTS[got.result], row))
            if got.result is not AckResult.RECOVERED:
                code = Exit.FAILED
    _say(lines)
    return acked, code


def _own_acks(profiles: Profiles | None, moments: Mapping[SafeText, float]) -> Acks:
    """Return this machine's acknowledgements in force; `profiles` limits the servers.

    `moments` has server times in ms; the local clock decides for unknown servers.
    """
    from envwatch.watch.state_file import acknowledged

    servers = None if profiles is None else {*profiles.servers.values()}
    now = _wall()
    return {
        key: ack
        for key, ack in acknowledged(state_file("acknowledged")).items()
        if ack.is_in_force(moments.get(key[0], now)) and (servers is None or key[0] in servers)
    }


def _end(options: Options, answer: _Answer) -> int:
    from envwatch.cli.machines import find_target
    from envwatch.views.table.table_view import by_name
    from envwatch.watch.state_file import ACKNOWLEDGEMENTS

    target = find_target(options, f"{_ARGUMENT}|ID")
    what, profiles = target.text, profiles_for(options)
    if (incident := _blindness(target, profiles)) is not None:
        return _end_of_blindness(incident, profiles.servers[incident.profile], answer)
    found, stops = _listed(options)
    own = _own_acks(found.profiles, server_moments(found.fleet, _wall()))
    uuid = _uuid_of(target, found, own)
    rows: Sequence[TrackedEnvironment] = ()
    if uuid:
        rows = by_name(row for row in found.fleet.environments if (ack := found.ack_of(row)) and ack.uuid == uuid)
        ending: Acks = {key: ack for key, ack in own.items() if ack.uuid == uuid}
    elif not (ending := {key: ack for key, ack in own.items() if key[1] == what}):
        if len(stops) == len(found.profiles):
            return report_stops(stops)
        rows = _chosen(target, found)
        ending = known_acks_here(rows, own, found.fleet)
    shared = shared_acks_of(rows, found.fleet, _wall())
    if uuid and not (ending or shared):  # the rows may be gone
        shared = {(profile, uuid): () for profile in found.profiles if profile in found.servers.profiles}
    if not ending and not shared:
        if code := report_stops(stops):
            return code
        name = what if uuid or not rows else _names(rows)
        raise StopError(Exit.FAILED, f"{name}: nothing is acknowledged; `envwatch ack list` prints what is")
    if ending:
        now = _wall()
        keep_changes("acknowledged", ACKNOWLEDGEMENTS, ended_here(ending, found.fleet, now))
        labels = {server_key(row, found.fleet): row.environment.label for row in found.fleet.environments}
        for uuid_of_part in dict.fromkeys(ack.uuid for ack in ending.values()):
            ids = [id_ for (_, id_), ack in ending.items() if ack.uuid == uuid_of_part]
            answer.add(uuid_of_part, now, ids, is_new=False)
        names = [shortened(labels.get(key, key[1]) or _BLINDNESS, _NAME_CELLS, keep="ends") for key in ending]
        print_error(f"ended: {enumerated(names[:_NAMES], len(names))}")
    return max((_end_shared(found, *each, answer) for each in shared.items()), default=Exit.FINE)


def _uuid_of(target: Target, found: _Found, own: Acks) -> SafeText:
    """Return the acknowledgement's id that a text is, or begins; empty if the text is none."""
    from envwatch.cli.machines import id_begun, is_machine

    what = target.text.lower()
    if target.is_literal or UUID.fullmatch(what):
        return EMPTY if target.is_literal else clean(what)
    if not _ID_BEGIN.fullmatch(what) or is_machine(target, found.fleet):
        return EMPTY
    acks = [*own.values(), *filter(None, map(found.ack_of, found.fleet.environments))]
    uuid = id_begun(what, (ack.uuid for ack in acks), "acknowledgement")
    is_unsure = any(isinstance(outcome, Failed) for outcome in found.outcomes.values())
    if uuid or is_unsure or any(id_ == what for _, id_ in own):
        return uuid
    line = f"no acknowledgement's id begins with {what}; `envwatch ack list` prints what is acknowledged"
    raise StopError(Exit.FAILED, line)


def _end_of_blindness(incident: Incident, server: SafeText, answer: _Answer) -> Exit:
    from envwatch.alerts.incident import losses_text
    from envwatch.watch.state_file import ACKNOWLEDGEMENTS

    key, now = blindness_key(server), _wall()
    ack = _own_acks(None, {}).get(key)
    if ack is None or ack.at < incident.began_at:
        line = f"{incident.id}: nothing is acknowledged; `envwatch ack list` prints what is"
        raise StopError(Exit.FAILED, line)
    keep_changes("acknowledged", ACKNOWLEDGEMENTS, ended_here({key: ack}, None, now))
    answer.add(ack.uuid, now, (), is_new=False)
    print_error(f"ended: {losses_text([incident])}")
    return Exit.FINE


def _end_shared(
    found: _Found, of: tuple[SafeText, SafeText], rows: Sequence[TrackedEnvironment], answer: _Answer
) -> Exit:
    profile, uuid = of
    host = server_host(found.profiles[profile].credentials)
    if not uuid:
        print_error(f"envwatch: not ended: {_names(rows)} was acknowledged there: end it at {host}")
        return Exit.FAILED
    if profile in found.servers.read_only:
        return _only_reads("ended", found, profile)
    error = asyncio.run(_ended_at_server(found, profile, uuid))
    if error is not None:
        return _refused("ended", error)
    answer.add(uuid, found.fleet.moments(_wall())[profile], (row.environment.id for row in rows), is_new=False)
    print_error(f"ended for everybody at {host}: {_names(rows) if rows else uuid[:_ID_CELLS]}")
    return Exit.FINE


async def _ended_at_server(found: _Found, profile: SafeText, uuid: SafeText) -> SourceError | None:
    async with client_for(*found.profiles[profile]) as client:
        return await change_shared(client, uuid, None)


class AckLine(NamedTuple):
    """An acknowledgement in force."""

    ack: Ack
    id: SafeText
    name: SafeText
    profile: SafeText
    is_served: bool

    @property
    def by(self) -> SafeText:
        """Who acknowledged; this user for a nameless acknowledgement."""
        return self.ack.by or user_name()

    @property
    def content(self) -> dict[str, object]:
        """The acknowledgement as JSON with stable names."""
        from envwatch.views.output.formats import iso

        return {
            "id": self.id,
            "name": self.name,
            "profile": self.profile or None,
            "at": iso(self.ack.at),
            "until": iso(self.ack.until),
            "by": self.by,
            "note": self.ack.note,
            "uuid": self.ack.uuid,
            "address": self.ack.address,
            "served": self.is_served,
        }


def _list(options: Options) -> int:
    lines, why = _lines(options)
    lines.sort(key=lambda line: (line.ack.at, line.name, line.id))
    if why:
        print_error(f"envwatch: only acknowledgements of this machine, and by id: {why}")
    if options.output == "json":
        write_json([line.content for line in lines])
    elif lines:
        write_table([*_cells(lines)])
    else:
        print_error("nothing is acknowledged on this machine" if why else "nothing is acknowledged")
    return Exit.UNREACHABLE if why else Exit.FINE


def _cells(lines: Sequence[AckLine]) -> Iterator[Sequence[SafeText]]:
    has_profiles = any(line.profile for line in lines)
    titles = ("NAME", *(["PROFILE"] if has_profiles else []), "SINCE", "UNTIL", "BY", "NOTE", "ID")
    yield [composed(title) for title in titles]
    for line in lines:
        ack = line.ack
        yield [
            shortened(line.name, _NAME_CELLS, keep="ends"),
            *([line.profile or clean("-")] if has_profiles else []),
            composed(date_text(ack.at, None)),
            composed("until back" if ack.until is None else date_text(ack.until, None)),
            *(each or clean("-") for each in (line.by, ack.note, clean(ack.uuid[:_ID_CELLS]))),
        ]


def _lines(options: Options) -> tuple[list[AckLine], str]:
    from envwatch.cli.one_listing import outcomes_within, stops_in
    from envwatch.query.language import parse
    from envwatch.watch.one_listing import matching_rows, monitor_after

    print_damage()
    profiles, found, why = None, None, ""
    try:
        profiles = profiles_for(options).with_settings(lambda settings: replace(settings, online_only=False))
        outcomes = outcomes_within(profiles, _LOOK_S)
        found = _Found(profiles, monitor_after(outcomes, profiles), outcomes)
        why = "; ".join(map(str, stops_in(outcomes, profiles)))
    except TimeoutError:
        why = f"no data within {_LOOK_S} s"
    except ReportedError as stop:
        why = str(stop)
    own, named, lines = (
        _own_acks(profiles, {} if found is None else server_moments(found.fleet, _wall())),
        set(),
        list[AckLine](),
    )
    if profiles is not None and found is not None:
        named = {server_key(row, found.fleet) for row in found.fleet.environments}
        lines += [
            AckLine(
                ack, row.environment.id, row.environment.label, row.profile, server_key(row, found.fleet) not in own
            )
            for row in matching_rows(parse(options.filter), found.monitor, profiles)
            if (ack := found.ack_of(row)) is not None
        ]
    if not options.filter:
        lines += [
            AckLine(ack, key[1], key[1] or _BLINDNESS, EMPTY, is_served=False)
            for key, ack in own.items()
            if key not in named
        ]
    return lines, why
