"""Completions in the filter box during typing, and the keys of the metadata, offered there and for columns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tracked_environments import BARE, matches, tracked

from envwatch.fleet.events import NO_PROFILE
from envwatch.query.completion import (
    HELP,
    LOG_HELP,
    completions,
    metadata_keys,
    near_names,
    typing_hint,
    unmatched_filter,
    value_hint,
)
from envwatch.query.fields import FIELDS
from envwatch.query.language import parse, parse_argument
from envwatch.query.lexer import QueryError, normalize, quote_if_needed, quoted
from envwatch.query.presentation import PRESENTATIONS, Filter
from envwatch.views.table.columns import SEARCHED

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment


FLEET = [
    tracked(connectionName="build box", metadata={"gitBranch": "main"}),
    tracked(connectionName="web-1", metadata={"gitBranch": "main", "os": "darwin"}, currentMode="fullAccess"),
    tracked(connectionName="web-2", metadata={"gitBranch": "feat/login", "lettaCodeVersion": "nightly"}),
    tracked(
        connectionName="none", metadata={"gitBranch": None, "odd key": {"inner": 1}}, currentMode="bypassPermissions"
    ),
]


def offers(text: str, cursor: int | None = None, profile_state: list[TrackedEnvironment] = FLEET) -> list[str]:
    return [str(one.text) for one in completions(text, len(text) if cursor is None else cursor, profile_state)]


def completed(text: str, cursor: int, choice: int = 0) -> str:
    one = completions(text, cursor, FLEET)[choice]
    return text[: one.start] + one.text + text[one.end :]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("os:windows", "no machine has os:windows; did you mean os:win32?"),
        ("os:Windwos", "no machine has os:Windwos; did you mean os:win32?"),
        ("os:linux,windows", "no machine has os:windows; did you mean os:win32?"),
        ("os:=macos web", "no machine has os:=macos; did you mean os:darwin?"),
        ('mode:"unrestrcted"', "no machine has mode:unrestrcted; did you mean mode:unrestricted?"),
        ("mode:acceptedit,strct", "no machine has mode:acceptedit; did you mean mode:acceptEdits?"),
        ("mode:fullaces", "no machine has mode:fullaces; did you mean mode:fullAccessible?"),
        ("os:darwin mode:unrestricted", None),
        ("mode:strict", None),
        ("os:win32", None),
        ("os:darw", "no machine has os:darw; did you mean os:darwin?"),
        ("name:web", "name:web finds 0; name:*web* finds 2"),
        ("name:nosuch", None),
        ("os:haiku", None),
        ("os:windows*", None),
        ("os:none", None),
        ("!os:windows", None),
        ("name:web-9 branch:mian", None),
        ("windows", None),
        ("", None),
    ],
)
def test_an_unmatched_value_like_a_usual_one_has_a_hint(query: str, hint: str | None) -> None:
    fleet = [*FLEET, tracked(currentMode="fullAccessible")]
    assert value_hint(parse(query), iter(fleet)) == hint


@pytest.mark.parametrize(
    ("argument", "near"),
    [
        ("web", "the nearest: web-1, web-2; name:*web* finds 2"),
        ("Web-3", "the nearest: web-1, web-2"),
        ("web*x", "the nearest: web-1, web-2"),
        ("eb*", "name:*eb* finds 2"),
        ("build bo", 'the nearest: build box; name:*"build bo"* finds 1'),
        ('"web" foo', "name:*web* finds 2"),
        ("xyz", None),
        ('"web-1" web-9', "the nearest: web-1, web-2"),
        ("web-1 os:linux", None),
    ],
)
def test_names_without_a_row_have_the_nearest_names_and_a_wider_filter_with_matches(
    argument: str, near: str | None
) -> None:
    assert near_names(parse_argument(argument), iter(FLEET)) == near


def test_an_empty_box_offers_every_field() -> None:
    assert offers("") == [*(f"{name}:" for name in FIELDS), "meta."]
    assert offers("web ") == offers("")


def test_a_field_is_offered_with_the_words_about_the_fact_and_an_example() -> None:
    described = {str(offer.text): str(offer.description) for offer in completions("", 0, [])}

    assert described["branch:"] == "git branch"
    assert described["seen:"] == "last seen: >1d"
    for fact in PRESENTATIONS.values():
        if fact.filter not in (Filter.NONE, Filter.STATE):
            assert described[f"{fact.id}:"] == ": ".join(filter(None, (fact.about, fact.example)))


def test_a_field_of_recorded_time_is_offered_only_where_recorded_time_is_known() -> None:
    assert [str(offer.text) for offer in completions("24", 2, [])] == ["24h:"]
    assert completions("24", 2, [], has_past=False) == []


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ve", ["version:"]),
        ("web !VE", ["version:"]),
        ("o", ["os:", "owner:", "org:"]),
        ("dir", ["directory:"]),
        ("heart", ["beat:"]),
        ("me", ["meta."]),
        ("zzz", []),
        ("on", ["status:on"]),
        ("OFF", ["status:off"]),
        ("!fl", ["flapping:"]),
        ("de", ["device:"]),
        ("ch", ["changed:"]),
        ("ack", ["acked:"]),
        ("sil", ["silenced:"]),
        ("g", []),
    ],
)
def test_a_word_is_completed_to_fields_and_statuses(text: str, fields: list[str]) -> None:
    assert offers(text) == fields


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("branch:", ["main", "feat/login", "none"]),
        ("branch:ma", ["main"]),
        ("branch:LOG", ["feat/login"]),
        ("branch:no", ["none"]),
        ("branch:none", []),
        ("branch:main", []),
        ("name:web-1", []),
        ("status:late", []),
        ("branch:=", ["=main", "=feat/login"]),
        ("branch:>", []),
        ("branch:x,ma", ["main"]),
        ("mode:", ["standard", "unrestricted"]),
        ("mode:unrestricted,", ["standard"]),
        ('name:"build box",bu', []),
        ("os:in", []),
        ("name:bu", ['"build box"']),
        ('name:"build b', ['"build box"']),
        ("name:no", ['"none"']),
        ("command:", ["abort", "reload"]),
        ("nothing:", []),
        ("status:o", ["on", "off", "old"]),
        ("version:", [">", ">=", "<", "<=", "0.34.12", "nightly"]),
        ("version:>=", [">=0.34.12"]),
        ("beat:", [">", ">=", "<", "<=", "none"]),
        ("beat:>90", [">90s", ">90m", ">90h", ">90d", ">90w"]),
        ("beat:>90s", []),
        ("up7d:", [">", ">=", "<", "<=", "none"]),
        ("up7d:<9", []),
        ("permanent:", ["yes", "no"]),
        ("permanent:N", ["no"]),
        ("meta.od", ['"meta.odd key".']),
        ("meta.odd key", ["owner:"]),
        ('"meta.odd key.', ['"meta.odd key.inner":']),
        ("meta.self_update.w", ["meta.self_update.writable:"]),
        ("meta.machine.cpu:", ['"Ryzen 7"']),
    ],
)
def test_values_of_the_fleet_are_offered_the_most_frequent_first(text: str, values: list[str]) -> None:
    assert offers(text) == values


@pytest.mark.parametrize(
    ("text", "cursor", "result"),
    [
        ("ver os:linux", 3, "version: os:linux"),
        ("web bra:main", 5, "web branch:main"),
        ("!sta:late", 4, "!status:late"),
        ("!:late", 1, "!status:late"),
        ("web !off nas", 8, "web !status:off nas"),
        ("branch:ma,x web", 9, "branch:main,x web"),
        ("branch:mxyz", 8, "branch:main"),
        ("version:>=0 web", 11, "version:>=0.34.12 web"),
        ('name:"bui" web', 8, 'name:"build box" web'),
        ("mode:unrestricted,sta", 21, "mode:unrestricted,standard"),
        ("!mode:unrestricted,sta web", 22, "!mode:unrestricted,standard web"),
        ("mode:sta,unrestricted", 8, "mode:standard,unrestricted"),
        ('mode:unrestricted,"sta', 22, "mode:unrestricted,standard"),
        ('name:"bui ld" web', 8, 'name:"build box" web'),
        ('!name:web-1,"bui" nas', 16, '!name:web-1,"build box" nas'),
        ("status:late,of", 14, "status:late,off"),
        ("branch:main,=fe", 15, "branch:main,=feat/login"),
        ('name:"bui os:linux', 9, 'name:"build box" os:linux'),
        ('name:"bui os:linux', 7, 'name:"build box" os:linux'),
        ('"of os:linux', 3, "status:off os:linux"),
        ("os:linux web", 9, "os:linux status:web"),
    ],
)
def test_an_offer_replaces_the_part_under_the_cursor(text: str, cursor: int, result: str) -> None:
    assert completed(text, cursor) == result


def test_the_number_of_offered_values_is_limited() -> None:
    profile_state = [tracked(connectionName=f"box-{number:02}") for number in reversed(range(21))]

    assert offers("name:box", profile_state=profile_state) == [f"box-{number:02}" for number in range(20)]


@given(st.text(st.sampled_from('av :!",.*>=-_1s\\\u0301'), max_size=16), st.data())
def test_offers_stay_within_the_text_for_any_text_and_cursor(text: str, data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, len(text)))

    for one in completions(text, cursor, FLEET):
        assert 0 <= one.start <= one.end <= len(text)


@given(st.text(min_size=1), st.sampled_from(["name", "branch", "mode", "version", "meta.x"]))
def test_an_offered_value_finds_its_environment(value: str, field: str) -> None:
    one = tracked(
        connectionName=value, currentMode=value, metadata={"gitBranch": value, "lettaCodeVersion": value, "x": value}
    )

    found = [offer for offer in offers(f"{field}:", profile_state=[one]) if offer[0] not in "<>"]

    assert len(found) == 1
    assert matches(parse(f"{field}:{found[0]}"), one)


def test_every_example_of_the_help_is_a_valid_query() -> None:
    for text, meaning in (*HELP, *LOG_HELP):
        assert parse(text, UTC)
        assert meaning


def test_an_offer_counts_the_environments_with_the_value() -> None:
    described = [str(one.description) for one in completions("branch:", 7, FLEET)]
    assert described == ["2 machines", "1 machine", "1 machine"]
    rows = [tracked(metadata={"team": "ml"}), tracked(id="env-2", metadata={"team": "web", "tape": 1})]
    offers_of_keys = {each.text: each.description for each in completions("meta.t", 6, rows)}
    assert offers_of_keys == {"meta.team:": "2 machines", "meta.tape:": "1 machine"}


def test_a_field_without_a_name_and_a_fleet_without_values_offer_nothing() -> None:
    assert offers(":x") == []
    assert offers("on:x", 2) == []
    assert offers("meta.", profile_state=[BARE]) == []
    assert offers("name:andr\u00e9", profile_state=[tracked(connectionName="Andre\u0301")]) == ["Andre\u0301"]


def keys_of(*metadata: dict[str, Any]) -> dict[str, int]:
    rows = [
        tracked(id=f"env-{n}", metadata={**dict.fromkeys(tracked().environment.metadata or ()), **each})
        for n, each in enumerate(metadata)
    ]
    return dict(metadata_keys(rows))


def test_the_keys_of_the_fleet_are_counted_by_rows_with_a_value_nested_ones_as_paths() -> None:
    found = keys_of(
        {"team": "a", "machine": {"cpu": "x", "none": None, "gpus": {}}, "": 1}, {"team": "", "rack": 0}, {"team": "b"}
    )
    assert [*found.items()] == [("team", 2), ("rack", 1), ("machine.cpu", 1), ("machine.gpus", 1)]
    assert keys_of({"a.b": 1, "a": {"b": 1}}) == {"a.b": 1}
    without = tracked()
    assert metadata_keys([replace(without, environment=replace(without.environment, metadata=None)), BARE]) == []


def test_texts_with_a_column_of_their_own_are_left_out_and_other_known_keys_come_last() -> None:
    one = {"os": "linux", "machine": {"cpu": "x"}}
    assert [*keys_of({**one, "zone": "a"}, one)] == ["zone", "machine.cpu"]


def test_parts_of_the_ability_to_update_are_not_offered() -> None:
    assert keys_of({"self_update": {"supported": True, "manual_command": "npm i"}, "self_updates": 1}) == {
        "self_updates": 1
    }


def test_equally_frequent_keys_are_in_order_and_their_number_is_limited() -> None:
    assert [*keys_of({f"key-{number:03}": 1 for number in range(101)})] == [f"key-{number:03}" for number in range(100)]


def test_keys_are_offered_down_to_the_third_nested_level() -> None:
    deep: dict[str, Any] = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    assert [*keys_of(deep)] == ["a.b.c.d"]


@pytest.mark.parametrize("blank", ["", " "])
def test_a_row_with_a_blank_name_is_found_by_its_id(blank: str) -> None:
    row = tracked(connectionName=blank, id="env-1")
    assert matches(parse_argument("env-1"), row)
    assert matches(parse("name:env-1"), row)
    assert not matches(parse("name:env"), row)


VALUES = st.text('0.<>=~*?,!:none" x-', min_size=1, max_size=8)


@given(st.sampled_from([*FIELDS, "meta.rack"]), VALUES)
@example("version", ">0.99")
@example("version", "0.20..0.30")
def test_every_filter_that_finds_nothing_has_a_hint_or_none(field: str, value: str) -> None:
    """`version:>0.99`, typed where no machine has such a version, once ended the dashboard."""
    fleet = [tracked(connectionName="web-1"), tracked(connectionName="web-2", id="env-2")]
    try:
        query = parse(f"{field}:{value}", has_past=True)
    except QueryError:
        return
    for hint in (value_hint, typing_hint, near_names):
        assert (hint(query, fleet) or "x").isprintable()
    assert (unmatched_filter(query, fleet, NO_PROFILE, SEARCHED) or "x").isprintable()


HOSTILE_NAMES = st.lists(st.text('ab :"*?,!=.()[]>~none', min_size=1, max_size=7), min_size=1, max_size=4)


@given(HOSTILE_NAMES, st.data())
def test_a_filter_built_from_a_name_finds_exactly_the_rows_of_the_name(names: list[str], data: st.DataObject) -> None:
    fleet = [tracked(connectionName=name, id=f"env-{number}") for number, name in enumerate(names)]
    of_name = {str(row.environment.label): normalize(row.environment.label) for row in fleet}
    for offer in offers("name:", profile_state=fleet):
        found = {str(row.environment.label) for row in fleet if matches(parse(f"name:{offer}"), row)}
        assert len({of_name.get(label) for label in found}) == 1, offer
    for label, normal in of_name.items():
        for query in (parse(f"name:{quote_if_needed(label)}"), parse_argument(quoted(label))):
            found = {row.environment.label for row in fleet if matches(query, row)}
            assert found == {other for other, text in of_name.items() if text == normal}, query

    part = data.draw(st.sampled_from(names).flatmap(lambda name: st.slices(len(name)).map(lambda some: name[some])))
    query = parse(f"name:{quote_if_needed(part)}") if part.strip() else parse("name:x")
    for hint in (value_hint(query, fleet), typing_hint(query, fleet), near_names(query, fleet)):
        wider, _, count = (hint or "").rpartition("; ")[2].rpartition(" finds ")
        assert not wider or sum(matches(parse(wider), row) for row in fleet) == int(count), hint
