"""Compares each list of docs/stability.md with the program, in both directions."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import signal
import sys
from datetime import timedelta
from functools import cache, reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, Final

import pytest
from support import programs
from support.builders import NOW, key_of, list_of, listed, reading, wire_rows
from support.builders import environment as environment_row
from support.documents import page, promises, tables
from support.faulty_server import KEY, faulty_server
from support.night import HOUR_MS, eventful_night
from support.parsers import actions_of, options_of, parsers
from support.pty_terminal import environment
from support.scripted_watch import hooked

from envwatch.alerts.alert_policy import AlertPolicy, Rule
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_environments
from envwatch.cli import doctor
from envwatch.cli.arguments import VARIABLES, Exit
from envwatch.cli.commands.ack import AckLine
from envwatch.cli.commands.doctor import LABELS
from envwatch.config.hooks import KINDS, HookSettings
from envwatch.config.schema import Command, OwnView, schema
from envwatch.config.validators import QuietTable
from envwatch.deliver.message import Context
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import ONLINE
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.model.acks import Ack, AckedLoss, AckedRow, AckRequest, AckResult
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.query.fields import FIELDS
from envwatch.screen.keymap import binding_ids
from envwatch.serve.answers import SharedState
from envwatch.serve.tokens import ACK as RIGHT
from envwatch.views.command_context import EVENT_VARIABLES, ROW_VARIABLES
from envwatch.views.events.cloud_events import cloud_event, word_of
from envwatch.views.output import alert_decisions, formats
from envwatch.views.output import check_result as plugin_output
from envwatch.views.output.alert_decisions import DecidedRow
from envwatch.views.output.check_result import Metric
from envwatch.views.output.formats import iso
from envwatch.views.report import document, outages
from envwatch.views.report.outages import Downtime, PastLosses
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import build_report
from envwatch.views.table.columns import COLUMNS
from envwatch.views.table.table_view import BUILT_IN_VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

PAGE: Final = page("stability.md")
SOURCE: Final = "https://letta.example/v1/environments"

PROMISES: Final = promises()


def profile_settings() -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema()["$defs"]["Profile"]["properties"]
    return {name: setting for name, setting in found.items() if name != "views"}  # a table


def listing() -> Any:
    return json.loads(b"".join(formats.listing_json(list_of(listed([environment_row()])))))


def hook_events() -> list[Any]:
    one = hooked("web", "b").hold(20, "web").hold(65)
    context = Context(source=SOURCE, host="letta.example", profile="work")
    messages = one.messages(context)
    return [json.loads(message.cloud_event) for message in messages]


def acknowledged_event() -> Any:
    one = hooked("web", rule={"has_acks": True}).hold(20, "web").ack("web", by="ann").poll("web")
    context = Context(source=SOURCE, host="letta.example", profile="work")
    return json.loads(one.messages(context)[-1].cloud_event)


def change() -> Iterable[str]:
    """Return the fields of every event besides the row's; an event about the fleet has these and the profile only."""
    monitor = Monitor.create({NO_PROFILE: Limits()})
    event = cloud_event(Event(kind=Kind.BLIND, at=ServerMs(0)), monitor, reading(NOW), SOURCE)
    return set(event["data"]) - {"profile"}


def decision() -> Any:
    row = TrackedEnvironment(environment=environment_row(), verdict=ONLINE)
    return json.loads(alert_decisions.decisions_json([DecidedRow(row, AlertPolicy().decision(row, None, NOW))]))[0]


def past_outage() -> Any:
    outage = Downtime(clean("env-1"), clean("web"), None, None, timedelta(), timedelta(), None)
    return json.loads(outages.outages_json(PastLosses([(EMPTY, outage)])))[0]


def finding_of_doctor() -> Any:
    async def found(_: None, facts: doctor.Facts) -> None:
        facts["x"] = 1

    async def findings() -> list[doctor.Finding]:
        return [finding async for finding in doctor.run_checks([doctor.Check("key", found)], None, {})]

    return asyncio.run(findings())[0]


def choices(command: str, option: str) -> Iterable[str]:
    (action,) = (each for each in actions_of(parsers()[command]) if option in each.option_strings)
    return action.choices or ()


@cache
def report_document() -> Any:
    night = eventful_night()
    until = WallMs(night.wall)
    since = WallMs(until - 8 * HOUR_MS)
    recorded = recorded_in(night.history, since, until, profile=clean("work"), host=clean("api.letta.com"))
    assert recorded is not None
    head = {"since": iso(since), "until": iso(until), "made_at": iso(until), "filter": None}
    return json.loads(document.report_json([build_report(recorded)], **head))


def part_of_report(*path: str | int) -> Any:
    return reduce(getitem, path, report_document()["profiles"][0])


def variables() -> Iterable[str]:
    return set(re.findall(r"(?:LETTA|ENVWATCH)_[A-Z_]+", VARIABLES)) - {"ENVWATCH_INTERVAL", "ENVWATCH_THEME"}


@cache
def marks() -> Any:
    """Return the field `envwatch` of a lost row that is acknowledged and silenced."""
    monitor, outcome = Monitor.create({NO_PROFILE: Limits()}), listed([environment_row(connectionId=None)])
    monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    silence = silence_of_environments([key_of("env-1")], WallMs(NOW), timedelta(hours=1), clean("rack"), clean("ann"))
    ack = Ack(NOW, EMPTY, until=NOW + HOUR_MS, uuid=clean("0f0e0d0c-0b0a-4908-8706-050403020100"))
    incidents = {clean("env-1"): clean("inc-1")}
    shared = SharedState(
        clean("ops"), {key_of("env-1"): ack}, {silence.id: silence}, AlertPolicy(), incidents=incidents
    )
    return shared.marks(monitor.fleet.by_profile[NO_PROFILE], reading())[clean("env-1")]


KNOWN: Final[Mapping[str, Callable[[], Iterable[str]]]] = {
    "Formats of `list -o`": lambda: choices("list", "-o"),
    "Formats of `watch -o` and `replay -o`": lambda: {*choices("watch", "-o"), *choices("replay", "-o")},
    "Formats of `report -o`": lambda: choices("report", "-o"),
    "Formats of `alerts list -o`": lambda: choices("alerts list", "-o"),
    "Formats of `ack list -o`": lambda: choices("ack list", "-o"),
    "Kinds of `check --of`": lambda: Metric,
    "Exit codes": lambda: [str(int(code)) for code in (*Exit, 128 + signal.SIGHUP)],
    "Exit codes of `check`": lambda: [str(status.value) for status in plugin_output.PluginStatus],
    "Settings of a profile, or above all": profile_settings,
    "Tables and settings of the file": lambda: schema()["properties"].keys() - profile_settings().keys(),
    "Settings of a recurring silence": lambda: QuietTable.model_fields,
    "Settings of a hook": lambda: HookSettings.model_fields,
    "Settings of a command of your own": lambda: Command.model_fields,
    "Settings of a view of your own": lambda: OwnView.model_fields,
    "Built-in views": lambda: BUILT_IN_VIEWS,
    "Ids of actions, for `[keys]`": lambda: (*binding_ids(), "view.NAME"),
    "Columns": lambda: COLUMNS,
    "Fields of the filter": lambda: [*FIELDS, "meta.KEY"],
    "Variables": variables,
    "A list": listing,
    "Its `counts`, and states of a machine": lambda: listing()["counts"].keys() - {"total"},
    "Its `set_aside`": lambda: listing()["set_aside"],
    "A machine, in this order, also of JSON lines and CSV": lambda: listing()["environments"][0],
    "`pages_by`": lambda: [rule.value for rule in Rule],
    "A decision of `alerts`": decision,
    "An outage of `alerts --since`": past_outage,
    "A finding of `doctor`": finding_of_doctor,
    "Its `status`": lambda: LABELS,
    "A report": report_document,
    "Its `profiles`": part_of_report,
    "`watch`": lambda: part_of_report("watch"),
    "`fleet`": lambda: part_of_report("fleet"),
    "`down`": lambda: part_of_report("down", 0),
    "`unrestricted`": lambda: part_of_report("unrestricted", 0),
    "`incidents`": lambda: part_of_report("incidents", 0),
    "`outages`": lambda: part_of_report("outages", 0),
    "`flapping`": lambda: part_of_report("flapping", 0),
    "`times`": lambda: part_of_report("flapping", 0, "times", 0),
    "`changes`": lambda: part_of_report("changes", 0),
    "`behind`": lambda: part_of_report("behind", 0),
    "`unseen`": lambda: part_of_report("unseen", 0),
    "`availability`": lambda: part_of_report("availability", 0),
    "Attributes": lambda: hook_events()[0],
    "Kinds, also for `on` of a hook": lambda: KINDS,
    "Fields of `data` in addition to the machine": change,
    "Types of an incident": lambda: [event["type"] for event in hook_events()],
    "Type of an acknowledged incident, if `on` of a hook has `acknowledged`": lambda: [acknowledged_event()["type"]],
    "Its `data` in addition": lambda: acknowledged_event()["data"].keys() - hook_events()[0]["data"].keys(),
    "An element of `acknowledgements`": lambda: acknowledged_event()["data"]["acknowledgements"][0],
    "`data` of an incident": lambda: hook_events()[0]["data"],
    "Its `environments`": lambda: hook_events()[0]["data"]["environments"][0],
    "Variables of a hook": lambda: EVENT_VARIABLES,
    "Variables of a machine": lambda: ROW_VARIABLES,
    "Series": lambda: [name.strip("`") for name, *_ in tables(page("metrics.md")) if name.startswith("`envwatch_")],
    "An acknowledgement of `ack list`": lambda: AckLine(Ack(0.0, EMPTY), EMPTY, EMPTY, EMPTY, is_served=False).content,
    "Members of a request": lambda: AckRequest(()).content,
    "Its `rows`": lambda: AckedLoss._fields,
    "An element of the answer's `rows`": lambda: AckedRow._fields,
    "Its `result`": lambda: AckResult,
    "Members of the field `envwatch`": marks,
    "Its `ack`": lambda: marks()["ack"],
    "Its `silence`": lambda: marks()["silence"],
    "Its `alerts`": lambda: marks()["alerts"],
    "Rights in the file of tokens": lambda: [RIGHT],
    "Version of the format": lambda: [str(FORMAT_VERSION)],
}

OTHERWISE_HELD: Final = {
    "Performance data of `check`",
    "A silence",
    "Further kinds",
    "An acknowledgement of `ack` and `ack end`",
    "A result of `check`",
    "A machine of `wait`",
    "A hook of `hooks list`",
    "A result of `hooks test`",
    "A setting of `config show`",
    "A result of `config validate`",
}
"""Names that tests beside this table compare, most of them in tests/cli/test_json.py."""


def test_every_promise_has_a_test() -> None:
    assert PROMISES.keys() == KNOWN.keys() | OTHERWISE_HELD


@pytest.mark.parametrize("label", KNOWN)
def test_the_page_names_what_the_program_has(label: str) -> None:
    assert set(PROMISES[label]) == set(KNOWN[label]())


def test_the_fields_of_a_row_have_the_order_of_the_page() -> None:
    promised = PROMISES["A machine, in this order, also of JSON lines and CSV"]
    rows = list_of(listed([environment_row()]))
    assert [*listing()["environments"][0]] == promised
    assert [*json.loads(b"".join(formats.encode_jsonl(rows)))] == promised
    assert next(csv.reader([b"".join(formats.encode_csv(rows)).decode().splitlines()[0]])) == promised


def test_the_page_names_every_command_with_its_options() -> None:
    promised = {name.strip("`"): set(flags.strip("`").split()) for name, flags in tables(PAGE)}
    assert promised == {name: options_of(parser) for name, parser in parsers().items()}


def test_every_kind_of_event_has_its_word() -> None:
    words = {word_of(Event(kind=kind, at=ServerMs(0))) for kind in Kind} - {"together", "notice"}
    promised = {*PROMISES["Kinds, also for `on` of a hook"], *PROMISES["Further kinds"]}
    assert promised == {*words, "initial"}


async def test_the_performance_data_of_a_check_is_what_the_page_names(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(3)) as faulty:
        environ = environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=faulty.url)
        done = await asyncio.to_thread(programs.run, [sys.executable, "-m", "envwatch", "check"], environ)
    data = done.stdout.decode().splitlines()[0].split(" | ")[1]
    assert re.findall(r"(\w+)=", data) == PROMISES["Performance data of `check`"]


def test_a_silence_has_the_fields_of_the_page(tmp_path: Path) -> None:
    def silence(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "envwatch", "silence", *arguments]
        return programs.run(command, environment(tmp_path)).stdout

    silence("pod:p-7", "--for", "2h", "--yes")
    (found,) = json.loads(silence("list", "-o", "json"))
    assert [*found] == PROMISES["A silence"]
