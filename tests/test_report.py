"""One listing as text: the exact JSON, the same in lines and CSV, and a table that fits any terminal."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from builders import NOW, environment, listed, reading, wire_row
from hypothesis import given
from hypothesis import strategies as st

from envwatch.clock import OffsetBounds
from envwatch.outcome import Listed, ListedPage, Snapshot
from envwatch.report import Report, csv_of, json_of, jsonl_of, report_of, summary_of, table_of
from envwatch.rules import Rules
from envwatch.text import cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.models import Environment

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\x00\n\r\t\u2028"


def report(*rows: Environment, at: float = NOW, **how: Any) -> Report:
    return report_of(listed(rows, at, **how), Rules())


def decoded(told: Report) -> Any:
    return json.loads(json_of(told))


def rows_of_csv(told: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(told).decode())))


def table(told: Report, *, width: int | None = None, encoding: str = "utf-8", ascii_only: bool = False) -> list[str]:
    drawn = table_of(told, width=width, encoding=encoding, ascii_only=ascii_only).decode(encoding)
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


def test_the_json_is_exactly_this() -> None:
    row = environment("env-1", apiKeyOwner="key-1", userId="user-1", currentMode="default", surprise=1)
    assert decoded(report(row)) == {
        "taken_at": "2025-10-09T08:53:20.000Z",
        "complete": True,
        "counts": {"online": 1, "late": 0, "offline": 0, "total": 1},
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
            }
        ],
    }


def test_what_a_row_lacks_is_null_and_no_field_is_ever_missing() -> None:
    bare = environment(
        connectionId=None,
        connectedAt=None,
        lastHeartbeat=None,
        podId=None,
        currentMode=None,
        metadata=None,
        listenerInstanceId=None,
    )
    (row,) = decoded(report(bare))["environments"]
    (full,) = decoded(report(environment()))["environments"]
    assert list(row) == list(full)
    assert {name for name, value in row.items() if value is None} == {
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
        "user_id",
        "api_key_owner",
        "self_update",
        "supported_commands",
        "metadata",
    }


def test_late_is_counted_apart_from_online() -> None:
    counts = decoded(report(*fleet_of_each_state()))["counts"]
    assert counts == {"online": 2, "late": 2, "offline": 3, "total": 7}


def test_the_newest_loss_comes_first_then_the_oldest_beat_then_names() -> None:
    ids = [row["id"] for row in decoded(report(*fleet_of_each_state()))["environments"]]
    assert ids == ["left", "lost", "never", "later", "late", "on-a", "on-b"]


def test_each_state_tells_its_reason() -> None:
    rows = decoded(report(*fleet_of_each_state()))["environments"]
    assert {row["id"]: (row["state"], row["reason"]) for row in rows} == {
        "left": ("offline", "disconnected"),
        "lost": ("offline", "heartbeat lost"),
        "never": ("offline", "no heartbeat"),
        "later": ("late", "a ping was missed"),
        "late": ("late", "a ping was missed"),
        "on-a": ("online", "beating"),
        "on-b": ("online", "beating"),
    }


@pytest.mark.parametrize(
    ("age", "state", "seconds"),
    [(44_999.9, "online", 44.999), (45_000, "late", 45.0), (119_999.9, "late", 119.999), (120_000, "offline", 120.0)],
)
def test_the_age_never_contradicts_the_state(age: float, state: str, seconds: float) -> None:
    (row,) = decoded(report(environment(lastHeartbeat=NOW - age)))["environments"]
    assert (row["state"], row["heartbeat_age_s"]) == (state, seconds)


def test_state_and_age_are_of_the_moment_when_the_rows_own_page_was_asked_for() -> None:
    beat = NOW - 119_000
    pages = (
        ListedPage([environment("first", lastHeartbeat=beat), environment("twice", lastHeartbeat=beat)], NOW),
        ListedPage(
            [environment("second", lastHeartbeat=beat), environment("twice", lastHeartbeat=beat - 1)], NOW + 2000
        ),
    )
    snapshot = Snapshot(pages=pages, clock=(OffsetBounds(-500, 500),))
    told = report_of(Listed(snapshot, reading(), reading(), timedelta(seconds=5)), Rules())
    rows = {row["id"]: (row["state"], row["heartbeat_age_s"]) for row in decoded(told)["environments"]}
    assert rows == {"first": ("late", 119.0), "twice": ("late", 119.0), "second": ("offline", 121.0)}
    assert decoded(told)["taken_at"] == "2025-10-09T08:53:20.000Z"


@pytest.mark.parametrize("skew", [-86_400_000.0, 0.0, 86_400_000.0])
def test_a_wrong_clock_of_ours_changes_nothing(skew: float) -> None:
    rows = fleet_of_each_state()
    assert json_of(report(*rows, skew=skew)) == json_of(report(*rows))


@pytest.mark.parametrize("instant", [1e300, -1e300, 1e18, 253_402_300_800_000, -62_135_596_800_001])
def test_an_instant_that_no_calendar_holds_is_null(instant: float) -> None:
    (row,) = decoded(report(environment(firstSeenAt=instant, lastHeartbeat=instant)))["environments"]
    assert row["first_seen_at"] is None
    assert row["last_heartbeat_at"] is None


@given(instant=st.integers(0, 4_102_444_800_000))
def test_an_instant_comes_back_from_its_text(instant: int) -> None:
    (row,) = decoded(report(environment(firstSeenAt=instant)))["environments"]
    assert row["first_seen_at"].endswith("Z")
    assert round(datetime.fromisoformat(row["first_seen_at"]).timestamp() * 1000) == instant


def test_json_lines_are_the_environments_of_the_json() -> None:
    told = report(*fleet_of_each_state())
    lines = jsonl_of(told).decode().splitlines()
    assert [json.loads(line) for line in lines] == decoded(told)["environments"]


def test_the_csv_has_the_fields_of_the_json_and_nested_ones_as_json() -> None:
    told = report(*fleet_of_each_state())
    environments = decoded(told)["environments"]
    rows = rows_of_csv(told)
    assert [list(row) for row in rows] == [list(row) for row in environments]
    assert [row["id"] for row in rows] == [row["id"] for row in environments]
    first = rows[0]
    assert first["connection_id"] == ""
    assert first["heartbeat_age_s"] == ""
    assert json.loads(first["metadata"]) == wire_row()["metadata"]
    assert json.loads(first["supported_commands"]) == ["abort", "reload"]
    assert rows[-1]["heartbeat_age_s"] == "12.0"


def test_an_empty_listing_is_told_in_every_format() -> None:
    told = report()
    assert decoded(told)["counts"] == {"online": 0, "late": 0, "offline": 0, "total": 0}
    assert decoded(told)["environments"] == []
    assert jsonl_of(told) == b""
    assert csv_of(told).startswith(b'"id","name",')
    assert csv_of(told).count(b"\n") == 1
    assert table(told) == ["STATE  AGE  NAME  MODE  VERSION  BRANCH  OS"]


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "＝1", "﹣1"])
def test_no_cell_of_the_csv_is_a_formula(formula: str) -> None:
    row = environment(connectionName=formula, currentMode=formula, metadata={"gitBranch": formula})
    (cells_of_row,) = rows_of_csv(report(row))
    assert [cells_of_row[name] for name in ("name", "mode", "branch")] == [f"'{formula}"] * 3


def test_every_cell_of_the_csv_is_quoted() -> None:
    line = csv_of(report(environment(connectionName='a;"b",c'))).decode().splitlines()[1]
    assert line.startswith('"env-1","a;""b"",c",')
    assert line.endswith('"')


@given(text=st.text(max_size=40) | st.just(HOSTILE))
def test_nothing_of_theirs_controls_a_terminal_in_any_format(text: str) -> None:
    names = ("connectionName", "deviceId", "organizationId", "connectionId", "podId", "userId", "currentMode")
    row = environment(**dict.fromkeys(names, text), metadata={"gitBranch": text, "os": text, text: [text]})
    told = report(row)
    drawn = [json_of(told), jsonl_of(told), csv_of(told), table_of(told, width=80, encoding="utf-8", ascii_only=False)]
    for line in b"\n".join(drawn).decode().split("\n"):
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_the_table_has_a_line_each_with_a_glyph_and_the_word() -> None:
    lines = table(report(*fleet_of_each_state()))
    assert lines[0].split() == ["STATE", "AGE", "NAME", "MODE", "VERSION", "BRANCH", "OS"]
    assert [line.split()[:2] for line in lines[1:]] == [
        *[["○", "offline"]] * 3,
        *[["◐", "late"]] * 2,
        *[["●", "online"]] * 2,
    ]
    assert lines[-1].split()[2] == "12s"


def test_the_columns_of_the_table_stand_one_below_the_other() -> None:
    rows = [environment(str(number), connectionName=name) for number, name in enumerate(("a", "東京", "e\u0301" * 9))]
    lines = table(report(*rows))
    column = cells(lines[0].partition("MODE")[0])
    assert [cells(line.partition("standard")[0]) for line in lines[1:]] == [column] * 3


def test_without_a_terminal_the_table_is_as_wide_as_it_must() -> None:
    name = "n" * 300
    assert any(name in line for line in table(report(environment(connectionName=name))))


@given(width=st.integers(1, 130), names=st.lists(st.text("n東é ", max_size=60), max_size=4))
def test_the_table_fits_any_terminal(width: int, names: Sequence[str]) -> None:
    rows = [environment(str(number), connectionName=name) for number, name in enumerate(names)]
    lines = table(report(*rows), width=width)
    assert len(lines) == len(names) + 1
    assert max(cells(line) for line in lines) <= width


def test_at_80_columns_a_long_name_gives_way_and_the_rest_stays() -> None:
    row = environment(connectionName="sandbox-agent-5f4cf6f5-b557-4022-8ebd-ae00cc512240-and-more-still")
    line = table(report(row), width=80)[1]
    assert line.endswith("standard  0.34.12  main    linux")
    assert "sandbox-agent-" in line
    assert "…" in line


def test_ascii_draws_every_mark_in_ascii() -> None:
    told = report(*fleet_of_each_state(), environment("x" * 90, currentMode=None, connectionName="n" * 90))
    assert "\n".join(table(told, width=70, ascii_only=True)).isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "shift_jis"])
def test_a_name_that_the_encoding_lacks_is_written_in_escapes(encoding: str) -> None:
    lines = table(report(environment(connectionName="büro-🚀")), encoding=encoding, ascii_only=True)
    assert "\\U0001f680" in lines[1]
    assert ("büro" in lines[1]) == (encoding == "latin-1")


def test_the_summary_counts_and_says_what_may_be_wrong() -> None:
    assert summary_of(report(*fleet_of_each_state()), "api") == "7 environments at api: 3 offline, 2 late, 2 online"
    assert summary_of(report(environment()), "api") == "1 environment at api: 0 offline, 0 late, 1 online"
    assert summary_of(report(dated=False), "api").endswith(
        "; ages by this machine's clock, for the server told no time"
    )


def test_rows_that_could_not_be_read_make_the_listing_incomplete() -> None:
    snapshot = Snapshot(pages=(ListedPage([environment()], NOW),), set_aside=2)
    told = report_of(Listed(snapshot, reading(), reading(), timedelta(seconds=5)), Rules())
    assert decoded(told)["complete"] is False
    assert "incomplete: 2 rows could not be read" in summary_of(told, "api")
