"""Environments as bytes: exact JSON, JSON lines and CSV, a table that fits any terminal, and filters."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from itertools import pairwise
from operator import le
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json
from support.builders import NOW, environment, list_of, list_of_profiles, listed, reading, wire_row
from support.tracked_environments import ALL, matches

from envwatch.alerts.alert_policy import Decision, Rule
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import GONE, Presence
from envwatch.fleet.uptime import Uptime
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.outcome import Listed, ListedPage, Snapshot
from envwatch.model.text import cells, clean
from envwatch.query.language import parse
from envwatch.views.output.environment_list import EnvironmentList, filtered, ordered_by
from envwatch.views.output.formats import (
    ROW_NAMES,
    encode_csv,
    encode_jsonl,
    encode_row,
    listing_json,
    listing_names,
    listing_table,
    prompt_line,
    summary_of,
)
from envwatch.views.table.block import Aside, Block
from envwatch.views.table.columns import COLUMNS
from envwatch.views.table.table_view import in_default_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.model.environment import Environment


_COUNTS = Decision(counts=True, rule=Rule.UPTIME)
HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\x00\n\r\t\u2028"


def listing_of(*rows: Environment, at: float = NOW, profile: str = "", **how: Any) -> EnvironmentList:
    return list_of_profiles({profile: listed(rows, at, **how)})


def found(listing: EnvironmentList, query: str) -> EnvironmentList:
    return filtered(listing, parse(query, UTC))


def ids(listing: EnvironmentList) -> list[str]:
    return [row.tracked.environment.id for row in listing.rows]


def blind(listing: EnvironmentList) -> EnvironmentList:
    """Return the same rows as a dashboard shows them after a minute without a listing."""
    return replace(listing, rows=[row._replace(is_unknown=True) for row in listing.rows])


def whole(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)


def decoded(listing: EnvironmentList) -> Any:
    return json.loads(whole(listing_json(listing)))


def rows_of_csv(listing: EnvironmentList) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(whole(encode_csv(listing)).decode())))


def table(
    listing: EnvironmentList, *, width: int | None = None, encoding: str = "utf-8", ascii_only: bool = False
) -> list[str]:
    drawn = whole(listing_table(listing, width=width, encoding=encoding, ascii_only=ascii_only)).decode(encoding)
    return drawn.removesuffix("\n").split("\n")


def fleet_of_each_state() -> tuple[Environment, ...]:
    return (
        environment("on-b", connectionName="beta"),
        environment("on-a", connectionName="Alpha"),
        environment("late", lastHeartbeat=NOW - 60_000),
        environment("later", lastHeartbeat=NOW - 100_000),
        environment("lost", lastHeartbeat=NOW - 300_000, lastSeenAt=NOW - 300_000),
        environment("left", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 200_000),
        environment("never", lastHeartbeat=None, lastSeenAt=NOW - 900_000),
    )


@pytest.mark.parametrize(("profile", "prefix"), [("", ""), ("prod", "profile prod: ")])
def test_a_warning_about_clocks_names_the_profile_if_the_profile_has_a_name(profile: str, prefix: str) -> None:
    (warning,) = listing_of(environment("env-1"), skew=90_000, profile=profile).clock_warnings
    assert warning == f"{prefix}this machine's clock is 1m 30s ahead of the server's; ages are by the server's"


def test_the_json_is_exactly_this() -> None:
    row = environment("env-1", apiKeyOwner="key-1", userId="user-1", currentMode="default", surprise=1)
    added = dict.fromkeys(ROW_NAMES[ROW_NAMES.index("unknown") + 1 :]) | {
        "pages": True,
        "pages_by": "system",
        "why": "pages: not a laptop's system",
    }
    assert decoded(listing_of(row)) == {
        "taken_at": "2025-10-09T08:53:20.000Z",
        "complete": True,
        "filter": None,
        "preset": None,
        "total_unfiltered": 1,
        "counts": {"online": 1, "late": 0, "offline": 0, "gone": 0, "unknown": 0, "total": 1},
        "set_aside": {"total": 0, "ids": []},
        "environments": [
            {
                "id": "env-1",
                "name": "laptop of env-1",
                "device_id": "device-of-env-1",
                "connection_id": "conn-of-env-1",
                "listener_instance_id": "server-env-1",
                "state": "online",
                "reason": "beating",
                "heartbeat_age_s": 12.0,
                "last_heartbeat_at": "2025-10-09T08:53:08.000Z",
                "connected_at": "2025-10-09T07:53:20.000Z",
                "first_seen_at": "2025-10-08T08:53:20.000Z",
                "last_seen_at": "2025-10-09T08:53:08.000Z",
                "mode": "default",
                "version": "0.34.12",
                "branch": "main",
                "os": "linux",
                "node_version": "v22.1.0",
                "working_directory": "/home/hiro/code/portal",
                "organization_id": "org-1",
                "pod_id": "pod-1",
                "user_id": "user-1",
                "api_key_owner": "key-1",
                "self_update": {"supported": True, "writable": True},
                "supported_commands": ["abort", "reload"],
                "metadata": wire_row()["metadata"],
                "profile": None,
                "acknowledged": None,
                "last_state": None,
                "unknown": {"surprise": 1},
                **added,
            }
        ],
    }


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_the_json_written_row_by_row_is_formatted_as_one_document(rows: int) -> None:
    listing = listing_of(*fleet_of_each_state()[:rows])
    assert whole(listing_json(listing)) == to_json(decoded(listing), indent=2) + b"\n"
    row = encode_row(listing_of(environment()))
    assert row.startswith('{\n  "id": "env-1",\n  "name": ')
    assert json.loads(row) == decoded(listing_of(environment()))["environments"][0]


def test_rows_have_state_and_reason_and_stand_by_newest_loss_oldest_beat_and_name() -> None:
    document = decoded(listing_of(*fleet_of_each_state()))
    assert [(row["id"], row["state"], row["reason"]) for row in document["environments"]] == [
        ("left", "offline", "disconnected"),
        ("lost", "offline", "heartbeat lost"),
        ("never", "offline", "no heartbeat"),
        ("later", "late", "a ping was missed"),
        ("late", "late", "a ping was missed"),
        ("on-a", "online", "beating"),
        ("on-b", "online", "beating"),
    ]
    counts = {"online": 2, "late": 2, "offline": 3, "gone": 0, "unknown": 0, "total": 7}
    assert document["counts"] == counts
    (row,) = listing_of(environment()).rows
    gone = decoded(replace(listing_of(), rows=[row._replace(tracked=replace(row.tracked, verdict=GONE))]))
    assert [(row["state"], row["reason"]) for row in gone["environments"]] == [("gone", "no longer listed")]
    assert gone["counts"]["gone"] == 1


def test_missing_values_are_null_and_no_field_is_left_out() -> None:
    bare = environment(
        connectionId=None,
        connectedAt=None,
        lastHeartbeat=None,
        podId=None,
        currentMode=None,
        metadata=None,
        listenerInstanceId=None,
    )
    (row,) = decoded(listing_of(bare))["environments"]
    (full,) = decoded(listing_of(environment()))["environments"]
    assert list(row) == list(full)
    assert {name for name, value in row.items() if value is None and full[name] is not None} == {
        "connection_id",
        "listener_instance_id",
        "heartbeat_age_s",
        "last_heartbeat_at",
        "connected_at",
        "mode",
        "version",
        "branch",
        "os",
        "node_version",
        "working_directory",
        "pod_id",
        "self_update",
        "supported_commands",
        "metadata",
    }


@pytest.mark.parametrize(
    ("age", "state", "seconds"),
    [(44_999.9, "online", 44.999), (45_000, "late", 45.0), (119_999.9, "late", 119.999), (120_000, "offline", 120.0)],
)
def test_the_age_never_contradicts_the_state(age: float, state: str, seconds: float) -> None:
    (row,) = decoded(listing_of(environment(lastHeartbeat=NOW - age)))["environments"]
    assert (row["state"], row["heartbeat_age_s"]) == (state, seconds)


def test_state_age_and_filter_are_of_the_request_of_the_rows_page() -> None:
    beat = NOW - 119_000
    second = [environment("second", lastHeartbeat=beat), environment("twice", lastHeartbeat=beat - 1)]
    untimed = environment("untimed", lastHeartbeat=NOW * 1000)
    pages = (
        ListedPage([environment("first", lastHeartbeat=beat), environment("twice", lastHeartbeat=beat)], WallMs(NOW)),
        ListedPage([*second, untimed], WallMs(NOW + 2000)),
    )
    snapshot = Snapshot.of_pages(pages=pages, clock=(OffsetBounds(-500, 500),))
    listing = list_of(Listed(snapshot, reading(), reading(), timedelta(seconds=5)))
    assert ids(found(listing, "beat:>=2m")) == ids(found(listing, "status:offline !untimed")) == ["second"]
    rows = {row["id"]: (row["state"], row["heartbeat_age_s"]) for row in decoded(listing)["environments"]}
    del rows["untimed"]
    assert rows == {"first": ("late", 119.0), "twice": ("late", 119.0), "second": ("offline", 121.0)}
    assert {row.tracked.environment.id: row.judged_at for row in listing.rows}[untimed.id] == NOW + 2_000
    assert decoded(listing)["taken_at"] == "2025-10-09T08:53:20.000Z"


@pytest.mark.parametrize("skew", [-86_400_000.0, 0.0, 86_400_000.0])
def test_a_wrong_local_clock_changes_nothing(skew: float) -> None:
    rows = fleet_of_each_state()
    assert whole(listing_json(listing_of(*rows, skew=skew))) == whole(listing_json(listing_of(*rows)))


@pytest.mark.parametrize("instant", [1e300, -1e300, 1e18, 253_402_300_800_000, -62_135_596_800_001])
def test_an_instant_outside_the_calendar_is_null(instant: float) -> None:
    (row,) = decoded(listing_of(environment(firstSeenAt=instant, lastHeartbeat=instant)))["environments"]
    assert row["first_seen_at"] is None
    assert row["last_heartbeat_at"] is None


def test_the_csv_has_the_fields_of_the_json_and_nested_ones_as_json() -> None:
    listing = listing_of(*fleet_of_each_state())
    environments = decoded(listing)["environments"]
    rows = rows_of_csv(listing)
    assert [list(row) for row in rows] == [list(row) for row in environments]
    assert [row["id"] for row in rows] == [row["id"] for row in environments]
    first = rows[0]
    assert first["connection_id"] == ""
    assert first["heartbeat_age_s"] == ""
    assert json.loads(first["metadata"]) == wire_row()["metadata"]
    assert json.loads(first["supported_commands"]) == ["abort", "reload"]
    assert rows[-1]["heartbeat_age_s"] == "12.0"
    line = whole(encode_csv(listing_of(environment(connectionName='a;"b",c')))).decode().splitlines()[1]
    assert line.startswith('"env-1","a;""b"",c",')
    assert line.endswith('"')


def test_unknown_fields_are_in_one_field() -> None:
    listing = listing_of(environment("env-1", region={"zone": "b\x1b"}), environment("env-2"))
    assert [row["unknown"] for row in decoded(listing)["environments"]] == [{"region": {"zone": "b\\x1b"}}, {}]
    assert [row["unknown"] for row in rows_of_csv(listing)] == ['{"region":{"zone":"b\\\\x1b"}}', "{}"]


def test_every_format_can_be_empty() -> None:
    listing = listing_of()
    assert set(decoded(listing)["counts"].values()) == {0}
    assert decoded(listing)["environments"] == []
    assert whole(encode_jsonl(listing)) == b""
    assert whole(encode_csv(listing)).startswith(b'"id","name",')
    assert whole(encode_csv(listing)).count(b"\n") == 1
    assert table(listing) == ["STATE  SEEN  NAME  WHY  MODE  VERSION  BRANCH  OS"]


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "＝1", "﹣1"])
def test_no_cell_of_the_csv_is_a_formula(formula: str) -> None:
    row = environment(connectionName=formula, currentMode=formula, metadata={"gitBranch": formula})
    listing = listing_of(row)
    listing = replace(listing, acknowledged={listing.rows[0].tracked.key: clean(formula)})
    for one in (listing, found(listing, "mode:*")):
        (cells_of_row,) = rows_of_csv(one)
        assert [cells_of_row[name] for name in ("name", "mode", "branch", "acknowledged")] == [f"'{formula}"] * 4


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\r\n@SUM(A1)", "\xa0=1", "\u200b=1"])
def test_a_blank_before_a_formula_is_spelled_out_in_the_csv(text: str) -> None:
    (cells_of_row,) = rows_of_csv(listing_of(environment(connectionName=text, metadata={"gitBranch": text})))
    spelled = text.encode("unicode_escape").decode()
    assert [cells_of_row[name] for name in ("name", "branch")] == [spelled] * 2


@given(text=st.text(max_size=40) | st.just(HOSTILE))
def test_no_format_lets_a_text_control_the_terminal(text: str) -> None:
    names = ("connectionName", "deviceId", "organizationId", "connectionId", "podId", "userId", "currentMode")
    row = environment(**dict.fromkeys(names, text), metadata={"gitBranch": text, "os": text, text: [text]})
    listing = listing_of(row)
    listing = replace(listing, filter=clean(text), acknowledged={listing.rows[0].tracked.key: clean(text)})
    drawn = [
        whole(listing_json(listing)),
        whole(encode_jsonl(listing)),
        whole(encode_csv(listing)),
        whole(listing_table(listing, width=80, encoding="utf-8", ascii_only=False)),
    ]
    for line in b"\n".join(drawn).decode().split("\n"):
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_the_table_has_a_line_for_each_environment_with_glyph_state_and_cause() -> None:
    lines = table(listing_of(*fleet_of_each_state()))
    why = lines[0].index("WHY")
    assert [(*line.split()[:2], line[why : why + 14].strip()) for line in lines[1:]] == [
        ("○", "off", "disconnected"),
        ("○", "off", "heartbeat lost"),
        ("○", "off", "no heartbeat"),
        ("◐", "late", "off in 20 s"),
        ("◐", "late", "off in 60 s"),
        ("●", "on", "–"),
        ("●", "on", "–"),
    ]
    assert lines[-1].split()[2] == "12s"
    listing = listing_of(*fleet_of_each_state(), environment("x" * 90, currentMode=None, connectionName="n" * 90))
    assert "\n".join(table(listing, width=70, ascii_only=True)).isascii()


def test_every_title_of_the_table_names_a_column() -> None:
    listing = listing_of(environment(), environment("env-2", connectionId=None, lastHeartbeat=None))
    assert {title.lower() for title in table(listing)[0].split()} <= COLUMNS.keys()
    chosen = replace(listing, columns=("state", "seen", "name", "beat"))
    lines = [line.split() for line in table(chosen)]
    assert lines[0] == ["STATE", "SEEN", "NAME", "BEAT"]
    assert lines[2][2] == lines[2][-1] == "12s"
    assert [row["seen"] for row in rows_of_csv(chosen)] == [line[2] for line in lines[1:]]


@pytest.mark.parametrize(
    ("column", "order"),
    [("for", "late up later down"), ("meta.rack", "down later late up"), ("name", "down late later up")],
)
def test_a_list_is_sorted_by_a_column_with_rows_without_a_value_last(column: str, order: str) -> None:
    racks = {"up": None, "late": "10", "later": "9", "down": "-1"}
    beats = {"up": 10, "late": 50, "later": 100, "down": 300}
    rows = [
        environment(
            name,
            connectionName=name,
            lastHeartbeat=NOW - age * 1_000,
            connectedAt=NOW - 9_000,
            metadata={"rack": racks[name]},
        )
        for name, age in beats.items()
    ]
    assert " ".join(ids(ordered_by(listing_of(*rows), column))) == order


def test_the_columns_of_the_table_are_aligned() -> None:
    rows = [environment(str(number), connectionName=name) for number, name in enumerate(("a", "東京", "e\u0301" * 9))]
    lines = table(listing_of(*rows))
    column = cells(lines[0].partition("MODE")[0])
    assert [cells(line.partition("standard")[0]) for line in lines[1:]] == [column] * 3


@pytest.mark.parametrize(("length", "shown"), [(40, "n" * 40), (41, f"{'n' * 32}…{'n' * 7}")])
def test_a_name_takes_forty_cells_of_the_table_at_most_and_is_whole_for_programs(length: int, shown: str) -> None:
    listing = listing_of(environment(connectionName="n" * length))
    assert table(listing)[1].split()[3] == shown
    assert rows_of_csv(listing)[0]["name"] == "n" * length
    assert whole(listing_names(listing)).decode() == f"{'n' * length}\n"


@pytest.mark.parametrize("width", [None, 80, 50])
def test_twins_and_look_alikes_are_told_apart_by_the_end_of_their_ids(width: int | None) -> None:
    names = {"env-aaaa": "twin", "env-bbbb": "twin", "env-cccc": "admin", "env-dddd": "\u0430dmin", "env-eeee": "alone"}
    names |= {"env-ffff": "t" * 60, "env-gggg": "t" * 60}
    lines = table(listing_of(*(environment(id_, connectionName=name) for id_, name in names.items())), width=width)
    assert any(f" {'t' * 28}…{'t' * 6} ffff " in f"{line} " for line in lines) is (width is None)
    for tail in "abcdfg":
        assert sum(f" {tail * 4} " in f"{line} " for line in lines) == 1
    assert not any("eeee" in line for line in lines)


def test_the_names_alone_are_one_a_line_with_the_id_of_a_row_without_a_name() -> None:
    listing = listing_of(environment("env-1", connectionName="web\n10"), environment("env-2", connectionName=""))
    assert whole(listing_names(listing)) == b"env-2\nweb\\n10\n"


def test_one_line_counts_what_there_is() -> None:
    seen = partial(prompt_line, age=timedelta(seconds=2.9), encoding="utf-8", ascii_only=False)
    listing = listing_of(*fleet_of_each_state())
    assert seen(listing, label=clean("acme")).decode() == "○3 ◐2 ●2 acme 2s\n"
    plain = prompt_line(listing, label=clean("\u00e0"), age=timedelta(), encoding="ascii", ascii_only=True)
    assert plain == b"x3 ~2 +2 \\xe0 0s\n"
    unsure = replace(listing_of(), rejected=3, unlisted=(clean("home"),))
    assert seen(unsure, label=clean("work")).decode() == "●0 ?3 work home? 2s\n"


@given(width=st.integers(1, 130), names=st.lists(st.text("n東é ", max_size=60), max_size=4))
def test_the_table_fits_any_terminal(width: int, names: Sequence[str]) -> None:
    rows = [environment(str(number), connectionName=name) for number, name in enumerate(names)]
    lines = table(listing_of(*rows), width=width)
    assert len(lines) == len(names) + 1
    assert max(cells(line) for line in lines) <= width


LONG_NAMES = ["sandbox-agent-5f4cf6f5-b557-4022-8ebd-ae00cc512240", "bjorn-home-server-12"]


@pytest.mark.parametrize(
    ("width", "at_least", "titles"),
    [
        (37, 20, ["NAME"]),
        (60, 20, ["NAME", "WHY", "MODE"]),
        (80, 26, ["NAME", "WHY", "MODE", "VERSION"]),
        (100, 33, ["NAME", "WHY", "MODE", "VERSION"]),
        (120, 40, ["NAME", "WHY", "MODE", "VERSION", "BRANCH"]),
        (None, 40, ["NAME", "WHY", "MODE", "VERSION", "BRANCH", "OS"]),
    ],
)
def test_other_columns_go_before_a_name_is_cut_below_20_cells(
    width: int | None, at_least: int, titles: list[str]
) -> None:
    down = environment(
        "3",
        connectionId=None,
        lastHeartbeat=None,
        currentMode="acceptEdits",
        metadata={"gitBranch": "feat/" + "b" * 20},
    )
    rows = [environment(str(place), connectionName=name) for place, name in enumerate(LONG_NAMES)]
    lines = table(listing_of(down, *rows), width=width)
    assert lines[0].split()[2:] == titles
    assert max(cells(line.split()[3]) for line in lines[1:]) >= at_least
    assert any("bjorn-home-server-12" in line for line in lines)
    assert ("disconnected" in lines[1]) is ("WHY" in titles)


@pytest.mark.parametrize("length", [1, 20, 25, 33, 40, 45])
def test_a_name_is_never_shorter_in_a_wider_terminal(length: int) -> None:
    names = ["n" * length, "n" * (length // 2 + 1)]
    changes = {"metadata": {"gitBranch": "b" * 12}}
    listing = listing_of(*(environment(name, connectionName=name, **changes) for name in names))
    shown = [
        [cells((line.split() + [""] * 4)[3]) for line in table(listing, width=columns)[1:]] for columns in range(1, 200)
    ]
    assert all(all(map(le, narrower, wider)) for narrower, wider in pairwise(shown))


def test_a_state_has_the_colour_of_a_loss_only_if_the_row_needs_a_person() -> None:
    old = environment("old", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 2 * 86_400_000)
    known = environment("known", connectionId=None, lastHeartbeat=None)
    listing = listing_of(*fleet_of_each_state(), old, known)
    listing = replace(listing, remarks={(NO_PROFILE, known.id): clean("acked: disks")})
    lines = whole(listing_table(listing, width=80, encoding="utf-8", ascii_only=False, has_colours=True)).decode()
    assert lines.count("\x1b[1;31m○ off\x1b[0m ") == 3
    assert lines.count("\x1b[2m○ off\x1b[0m ") == 2
    assert lines.count("\x1b[30;43m◐ late\x1b[0m ") == 2
    assert lines.count("\x1b[") == 14
    assert lines.count("disconnected · acked: disks") == 1
    assert re.sub(r"\x1b\[[0-9;]*m", "", lines).removesuffix("\n").split("\n") == table(listing, width=80)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "shift_jis"])
def test_a_name_outside_the_encoding_is_written_in_escapes(encoding: str) -> None:
    lines = table(listing_of(environment(connectionName="büro-🚀")), encoding=encoding, ascii_only=True)
    assert "\\U0001f680" in lines[1]
    assert ("büro" in lines[1]) == (encoding == "latin-1")


def test_the_summary_has_counts_and_caveats() -> None:
    assert summary_of(listing_of(*fleet_of_each_state()), "api") == "7 machines at api: 3 off, 2 late, 2 on"
    block = Block(presences={Presence.OFFLINE: 1, Presence.GONE: 1}, unknown=2, asides={Aside.OLD: 1_200})
    rare = summary_of(replace(listing_of(*fleet_of_each_state()), block=block), "api")
    assert rare == "7 machines at api: 1 off, 1 gone, 0 on, 2 unknown, 1,200 old"
    assert summary_of(listing_of(environment()), "api") == "1 machine at api: 1 on"
    everything = listing_of(*fleet_of_each_state())
    assert summary_of(found(everything, "status:offline"), "api").startswith("3 of 7 machines at api: ")
    assert summary_of(found(listing_of(environment()), "x-y-z"), "api").startswith("0 of 1 machine at api")
    old = summary_of(listing_of(environment()), "api", timedelta(seconds=50))
    assert old == "1 machine at api: 1 on; the data is 50s old"
    assert summary_of(listing_of(dated=False), "api").endswith(
        "; ages are by this machine's clock: no response had a Date header"
    )


def test_unreadable_rows_make_the_listing_incomplete_and_are_named() -> None:
    ids = frozenset(clean(f"env-{number}") for number in range(4, 0, -1))
    snapshot = Snapshot.of_pages(pages=(ListedPage([environment()], WallMs(NOW)),), rejected=5, rejected_ids=ids)
    outcome = Listed(snapshot, reading(), reading(), timedelta(seconds=5))
    other = outcome._replace(snapshot=snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-9")})))
    listing, both = list_of(outcome), list_of_profiles({"work": outcome, "home": other})
    assert decoded(listing)["complete"] is False
    assert decoded(listing)["set_aside"] == {"total": 5, "ids": ["env-1", "env-2", "env-3", "env-4"]}
    assert decoded(both)["set_aside"] == {"total": 6, "ids": ["env-1", "env-2", "env-3", "env-4", "env-9"]}
    assert "incomplete: 5 machines could not be read (env-1, env-2, env-3 and 2 more);" in summary_of(listing, "api")
    unnamed = list_of(outcome._replace(snapshot=snapshot._replace(rejected=2, rejected_ids=frozenset())))
    assert "; incomplete: 2 machines could not be read;" in summary_of(unnamed, "api")


@pytest.mark.parametrize(
    "query", ["", "beta", "!beta", "status:late,offline", "!status:online", "beat:>90s", "mode:none", "nothing"]
)
def test_a_filter_keeps_exactly_the_matching_rows_in_order(query: str) -> None:
    everything = listing_of(*fleet_of_each_state(), environment("bare", currentMode=None))
    parsed = parse(query, UTC)
    listing = filtered(everything, parsed)
    assert listing.rows == [row for row in everything.rows if matches(parsed, row.tracked, row.judged_at, ALL)]
    kept = set(ids(listing))
    rows = [row for row in decoded(everything)["environments"] if row["id"] in kept]
    document = decoded(listing)
    assert document["environments"] == rows
    assert [json.loads(line) for line in whole(encode_jsonl(listing)).decode().splitlines()] == rows
    assert [row["id"] for row in rows_of_csv(listing)] == ids(listing)
    assert len(table(listing)) == len(rows) + 1
    assert document["total_unfiltered"] == len(everything.rows)
    assert document["counts"]["total"] == len(rows) == sum(document["counts"].values()) - len(rows)


def test_a_filter_uses_the_printed_age_and_all_columns() -> None:
    rows = [environment(f"env-{age}", lastHeartbeat=NOW - age) for age in (89_999, 90_000, 90_999, 91_000)]
    everything = listing_of(*rows)
    (late, on_time) = (found(everything, query) for query in ("beat:>90s", "beat:<=90s"))
    assert sorted(ids(late) + ids(on_time)) == sorted(ids(everything))
    assert all(row["heartbeat_age_s"] > 90 for row in decoded(late)["environments"])
    everything = listing_of(environment("env-1", connectionId="conn-of-night"), environment("env-2", podId="night-pod"))
    assert ids(found(everything, "night !night-pod")) == ["env-1"], "words are looked for in all columns"


def test_the_filter_is_printed_in_its_canonical_spelling_and_the_rest_stays() -> None:
    everything = replace(listing_of(*fleet_of_each_state(), dated=False), rejected=2)
    listing = found(everything, ' state:off   "beta"')
    document = decoded(listing)
    assert (document["filter"], document["total_unfiltered"], document["counts"]["total"]) == (
        "status:off beta",
        7,
        0,
    )
    assert (document["complete"], document["taken_at"]) == (False, decoded(everything)["taken_at"])
    assert found(everything, "  ") == everything


@pytest.mark.parametrize(
    ("ack", "text"),
    [
        ({"by": "ops-1", "at": 1, "note": "on it"}, "by ops-1: on it"),
        ({"by": "ops-1", "at": 1}, "by ops-1"),
        ({"note": "on it"}, None),
    ],
)
def test_an_acknowledgement_of_the_serving_host_has_its_name_unless_there_is_another_here(
    ack: dict[str, str], text: str | None
) -> None:
    listing = listing_of(environment(envwatch={"ack": ack}))
    (row,) = decoded(listing)["environments"]
    assert row["acknowledged"] == text
    assert row["unknown"] == {"envwatch": {"ack": ack}}
    assert rows_of_csv(listing)[0]["acknowledged"] == (text or "")
    own = replace(listing, acknowledged={listing.rows[0].tracked.key: clean("mine")})
    assert decoded(own)["environments"][0]["acknowledged"] == "mine"


@pytest.mark.parametrize(
    ("watched_h", "decision", "values"),
    [
        (50.0, _COUNTS, (True, "uptime", "pages: up 97 % of 2 days", 0.9765)),
        (
            47.0,
            _COUNTS._replace(counts=False, rule=Rule.SANDBOX),
            (False, "sandbox", "does not page: a managed sandbox", None),
        ),
        (47.0, None, (None, None, None, None)),
    ],
)
def test_the_decision_about_alerts_and_the_known_share_are_in_json_and_csv(
    watched_h: float, decision: Decision | None, values: tuple[object, ...]
) -> None:
    listing = listing_of(environment())
    row = listing.rows[0]
    uptime = Uptime().after(46.0 * 3_600_000, is_up=False).after(watched_h * 3_600_000, is_up=True)
    uptime = uptime._replace(up=0.976_54 * uptime.watched)
    listing = replace(listing, rows=[row._replace(tracked=replace(row.tracked, uptime=uptime), decision=decision)])
    names = ("pages", "pages_by", "why", "up7d")
    (decoded_row,) = decoded(listing)["environments"]
    assert tuple(decoded_row[name] for name in names) == values
    cells_of_row = rows_of_csv(listing)[0]
    assert [cells_of_row[name] for name in names] == ["" if each is None else str(each).lower() for each in values]


def test_an_outdated_state_is_unknown_and_the_last_one_is_in_its_own_field() -> None:
    listing = blind(listing_of(*fleet_of_each_state()))
    document = decoded(listing)
    assert {(row["state"], row["reason"]) for row in document["environments"]} == {("unknown", "cannot be known")}
    assert [row["last_state"] for row in document["environments"]] == [*["offline"] * 3, *["late"] * 2, *["online"] * 2]
    counts = {"online": 0, "late": 0, "offline": 0, "gone": 0, "unknown": 7, "total": 7}
    assert document["counts"] == counts
    assert {(row["state"], row["last_state"]) for row in rows_of_csv(listing)[:3]} == {("unknown", "offline")}
    assert {tuple(line.split()[:2]) for line in table(listing)[1:]} == {("?", "unknown")}
    here = listing_of(environment("a", connectionName="a"))
    mixed = decoded(replace(here, rows=[*here.rows, *blind(listing_of(environment("b", connectionName="b"))).rows]))
    assert [(row["state"], row["last_state"]) for row in mixed["environments"]] == [
        ("online", None),
        ("unknown", "online"),
    ]
    assert mixed["counts"]["online"] == mixed["counts"]["unknown"] == 1


def test_several_profiles_become_one_list_problems_first() -> None:
    one, other = listed(fleet_of_each_state()), listed(fleet_of_each_state(), NOW - 1000, dated=False)
    other = other._replace(snapshot=other.snapshot._replace(rejected=3))
    listing = found(list_of_profiles({"work": one, "home": other}), "!beta")
    assert [row.tracked for row in listing.rows] == in_default_order(row.tracked for row in listing.rows)
    assert {(row["profile"], row["id"]) for row in decoded(listing)["environments"]} == {
        (profile, id_) for profile in ("work", "home") for id_ in ids(list_of(one)) if id_ != "on-b"
    }
    assert decoded(listing)["taken_at"] == decoded(list_of(other))["taken_at"]
    assert (listing.is_complete, listing.rejected, listing.is_by_server_clock) == (False, 3, False)
    assert summary_of(listing, "work and home").startswith("12 of 14 machines at work and home: ")


def test_a_profile_without_a_listing_makes_the_list_incomplete_and_is_named() -> None:
    one = listing_of(environment("env-1"), profile="work")
    listing = list_of_profiles({"work": listed([environment("env-1")])}, "home", "lab")
    assert (one.is_complete, listing.is_complete, decoded(listing)["complete"]) == (True, False, False)
    assert decoded(listing)["environments"] == decoded(one)["environments"]
    assert summary_of(listing, "api").endswith(" 1 on; incomplete: not listed yet: home, lab")


def test_the_table_names_profiles_only_where_there_are_any() -> None:
    several = list_of_profiles(dict.fromkeys(("work", "lab"), listed([environment("env-1")])))
    lines = [line.split() for line in table(several)]
    assert lines[0] == ["STATE", "SEEN", "NAME", "PROFILE", "WHY", "MODE", "VERSION", "BRANCH", "OS"]
    assert [line[6] for line in lines[1:]] == ["work", "lab"]
    assert "PROFILE" not in table(listing_of(environment()))[0]
