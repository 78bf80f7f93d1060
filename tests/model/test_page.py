"""Decoding of page bytes, however hostile: rows, machines set aside, documents that need no cleaning, shared values."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import TEXT_MEMBERS, environment, page_bytes, wire_row

from envwatch.model.environment import Environment
from envwatch.model.page import (
    Page,
    PageError,
    Pool,
    id_in,
    is_plain_json,
    is_too_large,
    parse_environment,
    parse_page,
    split_page,
)
from envwatch.model.text import clean, clean_key, cleaned

if TYPE_CHECKING:
    from pydantic import JsonValue


LONGEST, DEPTH, BITS = 1024, 32, 13_000

quick = settings(max_examples=examples(100), deadline=None)

CAREFUL = b'{"\\u0020": 0, '
"""Start of a page with a pointless escape, so that rows are read one by one."""


def with_member(member: str, row: dict[str, Any] | None = None) -> bytes:
    written = json.dumps(row or wire_row())
    return f'{{"connections": [{written[:-1]}, {member}}}], "hasNextPage": false}}'.encode()


def page_of_both_ways(data: bytes) -> Page:
    """Return the page, asserted equal to a reading row by row."""
    page = parse_page(data)
    assert parse_page(CAREFUL + data.removeprefix(b"{")) == page
    return page


def only(page: Page) -> Environment:
    (row,) = page.environments
    assert page.rejected == 0
    return row


# Shape


def test_a_row_is_read_under_the_names_of_this_program() -> None:
    row = only(page_of_both_ways(page_bytes([wire_row("env-7", currentMode="acceptEdits", lastHeartbeat=5)])))
    assert (row.id, row.name, row.mode, row.last_heartbeat_at) == ("env-7", "laptop of env-7", "acceptEdits", 5.0)
    assert (row.version, row.branch, row.os, row.node_version) == ("0.34.12", "main", "linux", "v22.1.0")
    assert row.working_directory == "/home/hiro/code/portal"
    assert row.supported_commands == ("abort", "reload")
    assert row.self_update == {"supported": True, "writable": True}
    assert row.machine is not None
    assert row.machine["memoryBytes"] == 34_359_738_368


def test_what_is_null_when_offline_may_be_null_or_missing() -> None:
    nullable = {"connectionId", "connectedAt", "lastHeartbeat", "podId", "currentMode", "metadata"}
    missing = {key: value for key, value in wire_row().items() if key not in nullable}
    rows = page_of_both_ways(page_bytes([wire_row() | dict.fromkeys(nullable), missing])).environments
    assert rows[0] == rows[1]
    assert (rows[0].connection_id, rows[0].last_heartbeat_at, rows[0].version) == (None, None, None)


@pytest.mark.parametrize("value", [0, -5, 1.5, 1_760_000_000_000, 1_760_000_000_000.25, 1e308])
def test_an_instant_is_an_integer_or_a_float(value: float) -> None:
    assert only(page_of_both_ways(page_bytes([wire_row(lastHeartbeat=value)]))).last_heartbeat_at == value


def test_unknown_fields_are_kept_and_cleaned() -> None:
    row = only(page_of_both_ways(with_member('"region\\u001b[31m": {"zone": "a\\u202eb"}')))
    assert row.unknown == {r"region\x1b[31m": {"zone": r"a\u202eb"}}


@pytest.mark.parametrize("name", ["name", "mode", "unknown", "device_id", "\0"])
def test_a_field_of_the_wire_cannot_pass_for_one_of_ours(name: str) -> None:
    row = only(parse_page(page_bytes([wire_row(**{name: "forged"})])))
    assert row == environment(**{name: "forged"})
    assert row.unknown == {clean(name): "forged"}
    assert row.name == "laptop of env-1"


def test_metadata_of_a_wrong_type_is_shown_and_not_interpreted() -> None:
    metadata = {"lettaCodeVersion": 34, "gitBranch": ["main"], "self_update": "no", "supported_commands": "abort"}
    row = only(page_of_both_ways(page_bytes([wire_row(metadata=metadata)])))
    assert row.metadata == metadata
    assert (row.version, row.branch, row.self_update, row.supported_commands) == (None, None, None, None)


def test_the_last_of_two_members_of_one_name_holds() -> None:
    assert only(page_of_both_ways(with_member('"connectionName": "second"'))).name == "second"


def test_the_cursor_is_the_last_id_as_received() -> None:
    page = parse_page(page_bytes([wire_row("env-1"), wire_row("a\u202eb")], has_next=True))
    assert page.has_next_page
    assert page.cursor == "a\u202eb"
    assert page.environments[-1].id == r"a\u202eb~1f7a9d5e"


def test_the_cursor_of_an_empty_page_is_none() -> None:
    assert page_of_both_ways(page_bytes([])) == Page([], has_next_page=False, cursor=None, rejected=0)


# Rejected rows


@pytest.mark.parametrize(
    "member",
    [
        '"lastHeartbeat": "1760000000000"',
        '"lastHeartbeat": true',
        '"lastHeartbeat": [1]',
        '"lastHeartbeat": 1e999',
        '"firstSeenAt": -1e999',
        '"firstSeenAt": null',
        f'"lastHeartbeat": {"9" * 400}',
        '"metadata": [1]',
        '"metadata": "linux"',
        '"metadata": {"load": 1e999}',
        '"metadata": {"load": [{"now": -1e999}]}',
        f'"metadata": {{"big": {2**BITS}}}',
        f'"metadata": {{"deep": {"[" * DEPTH}{"]" * DEPTH}}}',
        f'"region": {"[" * (DEPTH + 1)}{"]" * (DEPTH + 1)}',
        '"region": 1e999',
        '"connectionName": null',
        '"connectionName": 5',
        '"id": ""',
        '"id": null',
        '"id": 5',
        '"id": ["env-2"]',
    ],
)
def test_an_unfit_row_is_set_aside(member: str) -> None:
    bad = with_member(member).replace(b'"connections": [', b'"connections": [' + json.dumps(wire_row()).encode() + b",")
    page = page_of_both_ways(bad)
    assert page.rejected == 1
    assert page.environments == [environment()]


@pytest.mark.parametrize(
    "member",
    [
        f'"metadata": {{"big": {2**BITS - 1}}}',
        f'"metadata": {{"deep": {"[" * (DEPTH - 1)}{"]" * (DEPTH - 1)}}}',
        f'"region": {"[" * DEPTH}{"]" * DEPTH}',
    ],
)
def test_a_row_just_within_the_limits_is_not(member: str) -> None:
    assert page_of_both_ways(with_member(member)).rejected == 0


def test_what_is_no_object_is_set_aside() -> None:
    page = page_of_both_ways(page_bytes([1, None, "x", [], wire_row("env-9"), {}]))
    assert page.rejected == 5
    assert [row.id for row in page.environments] == ["env-9"]
    assert page.cursor == "env-9"


# Rows that no parser takes

BAD_MEMBERS: dict[str, bytes] = {
    "not UTF-8": b'"podId": "caf\xe9"',
    "not UTF-8, with brackets": b'"podId": "\xff}]\xfe{["',
    "a raw NUL": b'"podId": "a\x00b"',
    "a raw line end": b'"podId": "a\nb"',
    "NaN": b'"podId": NaN',
    "minus infinity": b'"metadata": {"load": -Infinity}',
    "1e999": b'"metadata": {"load": 1e999}',
    "400 digits": b'"lastHeartbeat": ' + b"9" * 400,
    "5,000 digits": b'"metadata": {"big": ' + b"9" * 5000 + b"}",
    "5,000 digits in a time": b'"lastHeartbeat": ' + b"9" * 5000,
    "200 levels": b'"metadata": {"deep": ' + b"[" * 200 + b"]" * 200 + b"}",
    "200 levels of objects": b'"metadata": ' + b'{"a":' * 200 + b"0" + b"}" * 200,
    "100,000 levels": b'"region": ' + b"[" * 100_000 + b"]" * 100_000,
    "deep, and half a surrogate pair": b'"a": "\\ud800", "region": ' + b"[" * 5000 + b"]" * 5000,
    "large": b'"metadata": {"a": ' + json.dumps([["x" * 1000] * 30] * 9).encode() + b"}",
    "large in a field of no known name": b'"region": ' + json.dumps([["x" * 1000] * 30] * 9).encode(),
    "no JSON within brackets": b'"podId": ,',
    "brackets of the wrong kind": b'"podId": [}',
}


@pytest.mark.parametrize("member", BAD_MEMBERS.values(), ids=BAD_MEMBERS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_no_parser_takes_costs_one_row(member: bytes, place: int) -> None:
    ids = [f"env-{number}" for number in range(3)]
    bad = json.dumps(wire_row(ids[place]))[:-1].encode() + b", " + member + b"}"
    rows = [bad if number == place else json.dumps(wire_row(id_)).encode() for number, id_ in enumerate(ids)]
    page = parse_page(b'{"hasNextPage": true, "connections": [' + b" , ".join(rows) + b" ] }")
    assert [row.id for row in page.environments] == [id_ for id_ in ids if id_ != ids[place]]
    assert (page.rejected, page.rejected_ids) == (1, (ids[place],))
    assert (page.cursor, page.has_next_page) == ("env-2", True)


def test_a_row_grown_too_large_is_not_taken_from_the_listing_before() -> None:
    known = {row.id: row for row in parse_page(page_bytes([wire_row("env-1")])).environments}
    large = wire_row("env-1", metadata={"a": [["x" * 1000] * 30] * 9})
    assert parse_page(page_bytes([large, wire_row("env-2")]), known).rejected_ids == ("env-1",)


def test_the_largest_value_has_256_kib_as_json() -> None:
    assert not is_too_large("x" * (256 * 1024 - 2))
    assert is_too_large("x" * (256 * 1024 - 1))


def test_a_row_with_an_unreadable_id_is_counted_without_the_id() -> None:
    page = parse_page(page_bytes([wire_row("env-1"), wire_row("env-X")], has_next=True).replace(b"env-X", b"env-\xe9"))
    assert (page.rejected, page.rejected_ids, page.cursor) == (1, (), "env-1")
    assert parse_page(page_bytes([wire_row(), wire_row() | {"id": ""}])).rejected_ids == ()


# Unreadable pages


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><title>502 Bad Gateway</title></html>",
        b"null",
        b"[]",
        b'{"connections": null, "hasNextPage": false}',
        b'{"connections": []}',
        b'{"hasNextPage": false}',
        b'{"connections": [], "hasNextPage": null}',
        b'{"connections": [], "hasNextPage": 1}',
        b'{"connections": [], "hasNextPage": "true"}',
        page_bytes([wire_row()])[:-2],
        page_bytes([wire_row()]) * 2,
        page_bytes([wire_row()]).replace(b"hasNext", b"\xe9", 1),
        page_bytes([wire_row()]).replace(b"hasNext", b"\x00", 1),
        page_bytes([wire_row()])[:-1] + b', "x": ' + b"9" * 5000 + b"}",
        page_bytes([wire_row()])[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}",
        page_bytes([wire_row()]).replace(b"main", b"m\xe9in")[:-2],
        page_bytes([wire_row()]).replace(b"main", b"m\xe9in") * 2,
        page_bytes([wire_row()]).decode().encode("utf-16"),
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
    ],
    ids=lambda data: f"{data[:24]!r}{len(data)}",
)
def test_an_unreadable_page_is_an_error_of_one_short_line(data: bytes) -> None:
    with pytest.raises(PageError, match=r"\A[\x20-\x7e]{1,140}\Z"):
        parse_page(data)


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from("xid"), st.binary(min_size=1, max_size=3)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=examples(300), deadline=None)
def test_a_broken_page_raises_nothing_else(edits: list[tuple[int, str, bytes]]) -> None:
    data = bytearray(page_bytes([wire_row("env-1"), wire_row("env-2", region="\u202e")]))
    for place, edit, replacement in edits:
        data[place : place + (0 if edit == "i" else len(replacement))] = b"" if edit == "d" else replacement
    try:
        page = parse_page(bytes(data))
    except PageError:
        return
    assert all(isinstance(row, Environment) for row in page.environments)


# Both ways agree

PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("é’東🚀\u0301"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(PLAIN, inside, max_size=3),
    max_leaves=8,
)
INSTANTS = st.integers(0, 2**53) | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.fixed_dictionaries(
    {"id": PLAIN, "connectionName": PLAIN, "lastHeartbeat": st.none() | INSTANTS, "metadata": JSON},
    optional={"region": JSON, "firstSeenAt": JSON, "currentMode": PLAIN},
).map(lambda changes: wire_row() | changes)


@quick
@given(st.lists(ROWS, max_size=4))
@example([wire_row(metadata={"a": "x" * (LONGEST + 1)})])
@example([wire_row(metadata={"x" * (LONGEST + 1): [{"y" * (LONGEST + 1): 2**BITS}]})])
def test_a_page_of_plain_text_reads_the_same_in_one_go_and_row_by_row(rows: list[dict[str, Any]]) -> None:
    escaped = page_of_both_ways(page_bytes(rows))
    page = page_of_both_ways(json.dumps({"connections": rows, "hasNextPage": False}, ensure_ascii=False).encode())
    assert page == escaped
    assert len(page.environments) + page.rejected == len(rows)


@pytest.mark.parametrize("field", TEXT_MEMBERS)
@pytest.mark.parametrize(("text", "shown"), [("a\x1b]52;", r"a\x1b]52;"), ("a\u3164", r"a\u3164"), ("aé", "aé")])
def test_each_text_of_a_row_is_cleaned(field: str, text: str, shown: str) -> None:
    row = only(page_of_both_ways(page_bytes([wire_row(**{field: text})])))
    assert shown in [value for value in astuple(row) if isinstance(value, str)]
    assert text == shown or text not in astuple(row)


@pytest.mark.parametrize("text", ["a\x1b]52;", "a\u202e", "a\u3164", "a" * (LONGEST + 1)])
def test_metadata_is_cleaned_however_deep_a_text_stands(text: str) -> None:
    deep: list[JsonValue] = [{text: 1}, {"a": text}, {"a": [text]}, {"a": {text: 1}}, {"a": {"b": [{"c": text}]}}]
    for metadata in deep:
        row = only(page_of_both_ways(page_bytes([wire_row(metadata=metadata)])))
        assert row.metadata == cleaned(metadata) != metadata


def test_the_last_of_two_lists_of_rows_holds_where_rows_are_set_aside() -> None:
    unreadable = b'{"connections": [{"id": "a", "deep": ' + b"[" * 5_000 + b"]" * 5_000 + b"}], "
    assert parse_page(unreadable + b'"hasNextPage": false}').rejected_ids == ("a",)
    with pytest.raises(PageError, match="no page of environments"):
        parse_page(unreadable + b'"connections": 5, "hasNextPage": false}')


# Distinct ids

IDS = (
    st.text(max_size=12)
    | st.text("ae\u0301\u200b\x1b\\x1b\ufe0f ", max_size=10)
    | st.builds("{}{}".format, st.sampled_from(["x" * (LONGEST - 2), "x" * LONGEST]), st.text(max_size=4))
)


@settings(max_examples=examples(300), deadline=None)
@given(ids=st.lists(IDS.filter(bool), min_size=2, max_size=8, unique=True), hashed=st.booleans())
@example(ids=["\x1b", r"\x1b"], hashed=True)
@example(ids=["x" * LONGEST + "a", "x" * LONGEST + "b"], hashed=False)
@example(ids=["e" + "\u0301" * 3, "e" + "\u0301" * 4], hashed=True)
@example(ids=["a\ufe0f", "a"], hashed=False)
@example(ids=["\ud800", "\ud801"], hashed=True)
def test_distinct_ids_are_distinct_keys_in_every_listing(*, ids: list[str], hashed: bool) -> None:
    if hashed:  # ids of other rows that look like replacement keys
        ids = list(
            dict.fromkeys(
                [*ids, *(row.id for row in parse_page(page_bytes([wire_row(id_) for id_ in ids])).environments)]
            )
        )
    rows = [wire_row("env-1") | {"id": id_} for id_ in ids]

    before = parse_page(page_bytes(rows)).environments
    again = parse_page(page_bytes(rows), {row.id: row for row in before}).environments
    one_by_one = parse_page(CAREFUL + page_bytes(rows).removeprefix(b"{")).environments

    assert len({row.id for row in before}) == len(ids)
    assert [row.id for row in before] == [row.id for row in again] == [row.id for row in one_by_one]
    assert all(clean(row.id) == row.id for row in before)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_an_id_as_servers_send_them_is_its_own_key(id_: str) -> None:
    key = only(parse_page(page_bytes([wire_row() | {"id": id_}]))).id
    assert key == id_ or id_[-9:-8] == "~"


# Rows shared with the previous listing


def test_an_unchanged_row_is_the_very_same_object() -> None:
    before = parse_page(page_bytes([wire_row("env-1"), wire_row("env-2")])).environments
    data = page_bytes([wire_row("env-2", lastHeartbeat=1), wire_row("env-1"), wire_row("env-3")])
    page = parse_page(data, {row.id: row for row in before})
    assert page == parse_page(data)
    assert [any(row is known for known in before) for row in page.environments] == [False, True, False]
    assert page.environments[0].metadata is before[1].metadata


def test_one_changed_row_of_a_large_page_leaves_the_other_rows_the_same_objects() -> None:
    rows = [wire_row(f"env-{number}", metadata={"note": "x" * 1_000}) for number in range(300)]
    known = {row.id: row for row in parse_page(page_bytes(rows)).environments}
    again = parse_page(page_bytes([wire_row("env-0", metadata={"note": "y"}), *rows[1:]]), known).environments
    assert [row is known[row.id] for row in again] == [False] + [True] * 299


@pytest.mark.parametrize("value", [None, [], "row", 5])
def test_a_value_without_members_is_no_row(value: JsonValue) -> None:
    with pytest.raises(ValueError, match="no object"):
        parse_environment(value)


@pytest.mark.parametrize("half", [b"\\ud800", b"\\uDFFF", b"\\udc00\\ud800"])
def test_half_a_surrogate_pair_in_one_row_costs_no_listing(half: bytes) -> None:
    data = page_bytes([wire_row("env-1"), wire_row("env-2")]).replace(b"main", b"m" + half + b"n", 1)
    page = parse_page(data)
    assert [row.id for row in page.environments] == ["env-1", "env-2"]
    assert page.environments[0].branch == f"m{half.decode().lower()}n"
    assert page.cursor == "env-2"


def test_half_a_surrogate_pair_is_no_cursor() -> None:
    page = parse_page(page_bytes([wire_row("env-1"), wire_row("env-2")], has_next=True).replace(b"env-2", b"\\ud800"))
    assert ([row.id[:7] for row in page.environments], page.cursor) == (["env-1", "\\ud800~"], "env-1")


def test_half_a_surrogate_pair_excuses_nothing_else() -> None:
    for bad in (b"NaN", b"9" * 5000, b"[" * 100_000):
        with pytest.raises(PageError):
            parse_page(b'{"connections": [{"id": "\\ud800", "x": ' + bad)
    with pytest.raises(PageError, match=r"^not JSON: NaN is no number$"):
        parse_page(rb'{"connections": [], "hasNextPage": false, "x": NaN, "y": "\ud800"}')
    assert parse_page(with_member(r'"x": NaN, "y": "\ud800"')).rejected == 1


# Ids that cleaning changes


def test_an_id_changed_by_cleaning_is_kept_as_received_if_a_url_can_hold_the_id() -> None:
    received = ["a\u202eb", "x~12345678", "x" * (LONGEST - 9) + "~12345678"]
    for no_url_holds in ("a\ud800b", "x" * (LONGEST + 1)):
        page = parse_page(page_bytes([wire_row(id_) for id_ in ["plain", *received, no_url_holds]]))
        assert page.received_ids == {clean_key(id_): id_ for id_ in received}
        assert page.environments[-1].id == clean_key(no_url_holds)
    set_aside = parse_page(page_bytes([wire_row("a\u202eb", firstSeenAt="never")]))
    assert set_aside.rejected_ids == (clean_key("a\u202eb"),)
    assert set_aside.received_ids == {clean_key("a\u202eb"): "a\u202eb"}


def test_a_row_made_too_large_by_escapes_is_set_aside_and_reads_the_same_when_sent_again() -> None:
    metadata = {f"m{number}": "\U000e0041" * 100 for number in range(300)}
    page = parse_page(page_bytes([wire_row("large", metadata=metadata), wire_row("usual")]))
    assert [row.id for row in page.environments] == ["usual"]
    assert page.rejected_ids == ("large",)


# An unparsable page is split into rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text('"\\[]{}:,é', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXT, inside, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


@given(
    st.lists(OBJECTS, max_size=4),
    OBJECTS,
    st.sampled_from([None, 1]),
    st.booleans(),
    st.booleans(),
)
def test_every_page_falls_into_its_rows_and_the_rest(
    rows: list[Any],
    others: dict[str, Any],
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001  hypothesis passes by place
    rows_first: bool,  # noqa: FBT001
) -> None:
    others = {key: value for key, value in others.items() if key != "connections"}
    page = {"connections": rows} | others if rows_first else others | {"connections": rows}
    pieces = split_page(json.dumps(page, indent=indent, ensure_ascii=ascii_only).encode())
    assert pieces is not None
    assert [json.loads(row) for row in pieces[0]] == rows
    assert json.loads(pieces[1]) == page | {"connections": []}


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.data())
def test_a_page_with_an_early_end_is_never_whole(rows: list[Any], data: st.DataObject) -> None:
    page = json.dumps({"hasNextPage": False, "connections": rows}).encode()
    pieces = split_page(page[: data.draw(st.integers(0, len(page) - 1))])
    if pieces is not None:
        with pytest.raises(ValueError, match=r"."):
            json.loads(pieces[1])


@given(OBJECTS, st.none() | TEXT)
def test_the_id_of_a_row_is_found_without_reading_the_row(row: dict[str, Any], id_: str | None) -> None:
    row = {key: value for key, value in row.items() if key != "id"} | {"deep": {"id": "not this"}}
    if id_ is not None:
        row["id"] = id_
    found = id_in(json.dumps(row, ensure_ascii=False).encode())
    assert (None if found is None else json.loads(found)) == id_


def test_the_last_of_two_ids_holds_as_for_a_parser() -> None:
    assert id_in(b'{"id": "a", "x": [{}], "id": "b"}') == b'"b"'
    assert id_in(b'{"id": "a", "id": 5}') == b'"a"'


SIZE = 2 << 20
START = b'{"connections": ['


PAGES = (
    START + b"{" * (SIZE // 2) + b"}" * (SIZE // 2),
    START + b"{}," * (SIZE // 12),
    START + b'{"' + b'\\"' * (SIZE // 2),
    START + b"{}" + b" " * SIZE,
)
"""A page of each sort: nested rows, many rows, a text of escapes, blanks."""
OTHERS = (
    START + b"{}," * (SIZE // 3),
    b"[" * SIZE,
    b'{"connections":' * (SIZE // 15),
    START + b"[" * SIZE,
    START + b"{" * SIZE,
    START + b"{" + b"[]" * (SIZE // 2),
    START + b'{"' + b"\\" * SIZE,
    START + b"{" + b'"' * SIZE,
    START + b" " * SIZE,
    b'{"connections"' + b" " * SIZE,
    b'{"connections"   ' * (SIZE // 16),
)


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(pytest.param(page, marks=pytest.mark.slow) for page in OTHERS)],
    ids=lambda page: f"{page[:24]!r}",
)
def test_the_time_grows_with_the_size_of_a_page_and_not_with_its_square(page: bytes) -> None:
    def cost(size: int) -> float:
        started = time.process_time()
        split_page(page[:size])
        id_in(page[:size])
        return time.process_time() - started

    # A sixteenth of the page takes a sixteenth of a linear time, a 256th of a quadratic time.
    assert cost(len(page)) <= 64 * max(cost(len(page) // 16), 0.02)


# Documents that need no cleaning, judged by their bytes alone

CHARACTERS = 'aé東가🚀 \\"\u0301\u0302\u05b0\u1161\u1162\u1163\u200b\ufe0f\x1b\ud800'
"""Letters of one and two cells, marks, vowels that join the previous letter, and unprintable characters."""
PIECES = (*'\\"/ubfnrt01eaA \n\t\x00\x1b\x7fé.\u0301\u0302\u1161', "\\u202", "\\u001b", "NaN")


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in value for text in strings_of(item)]


def in_which_strings_are_clean(data: bytes) -> bool:
    return all(clean(text) == text for text in strings_of(json.loads(data)))


@quick
@given(st.lists(st.text(CHARACTERS, max_size=4), max_size=4), st.booleans())
def test_a_document_proven_plain_has_nothing_to_clean(value: list[str], ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if is_plain_json(data):
        assert in_which_strings_are_clean(data)


@quick
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_no_parsable_bytes_are_wrongly_proven_plain(pieces: list[str]) -> None:
    data = ('"' + "".join(pieces) + '"').encode()
    if is_plain_json(data):
        try:
            assert in_which_strings_are_clean(data)
        except json.JSONDecodeError:
            return  # the parser refuses a raw control character or a lone backslash


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b'{"id": "env-1", "at": 1.5e3, "path": "a\\/b \\"c\\""}\r\n\t', True),
        (b'"C:\\\\work"', True),
        (b'"C:\\\\new"', True),
        (b'"C:\\\\\\new"', False),
        *((data, False) for data in (b'"\\u001b"', b'"\\b"', b'"\\f"', b'"\\n"', b'"\\r"', b'"\\t"', b'"\x7f"')),
        ('"André’s MacBook, 東京 🚀"'.encode(), True),
        ('"Andre\u0301 Tie\u0302\u0309n"'.encode(), False),
        ('"Andre\u0301", "\u05d0\u05b0"'.encode(), True),
        ('"\u0301a"'.encode(), False),
        ('"\u1100\u1161\u1162\u1163"'.encode(), False),
        ('"a\u200b"'.encode(), False),
        (b'"\xed\xa0\x80"', False),
        # JSON parsers take these ASCII bytes for UTF-16, with an override of the direction.
        (b'"\x00\x2e\x20"\x00', False),
    ],
)
def test_a_plain_document_is_distinguished_from_one_with_escapes(data: bytes, plain: bool) -> None:  # noqa: FBT001 - a row
    assert is_plain_json(data) is plain


# Equal values of many rows are shared

LIMIT = 10_000

LEAVES = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 2.5]) | st.sampled_from(["", "a"])
NESTED = st.recursive(
    LEAVES,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inside, max_size=2),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["os", "machine", "x"]), NESTED), max_size=6))
def test_shared_values_read_as_before(rows: list[dict[str, Any]]) -> None:
    pool = Pool()
    for row in rows:
        before = copy.deepcopy(row)
        pool.share(row)
        assert json.dumps(row) == json.dumps(before)  # distinguishes 1, 1.0 and true


def test_rows_of_different_pages_share_what_is_equal_in_their_metadata() -> None:
    pool = Pool()
    one, other = (parse_page(page_bytes([wire_row(id_)]), None, pool).environments[0] for id_ in ("env-1", "env-2"))
    assert one.metadata is not None
    assert other.metadata is not None
    assert one.metadata is not other.metadata
    assert all(one.metadata[name] is other.metadata[name] for name in one.metadata)


def test_a_new_value_in_a_known_row_is_shared() -> None:
    pool = Pool()
    known = {row.id: row for row in parse_page(page_bytes([wire_row("env-1")])).environments}
    rows = [wire_row(id_, metadata={"rack": [1, 2]}) for id_ in ("env-1", "env-2")]
    one, other = parse_page(page_bytes(rows), known, pool).environments
    assert one.metadata is not None
    assert other.metadata is not None
    assert one.metadata["rack"] is other.metadata["rack"]


def test_a_pool_keeps_a_bounded_number_of_values() -> None:
    pool = Pool()
    for number in range(LIMIT + 10):
        pool.share({"name": f"text {number}", "list": [number]})
    last: dict[str, Any] = {"name": "text 0", "list": [0], "new": "new", "more": [{"a": "new"}]}
    pool.share(last)
    assert last == {"name": "text 0", "list": [0], "new": "new", "more": [{"a": "new"}]}
    assert len(pool) == 2 * LIMIT
