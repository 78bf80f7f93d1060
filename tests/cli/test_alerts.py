"""`envwatch alerts`: the decisions about rows, a person's word, and the outages that would have been told."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import beating, listed
from support.faulty_server import KEY, Faulty, running, up
from support.recording import record

from envwatch.cli.arguments import StopError, options_in
from envwatch.cli.commands.alerts import run as run_command
from envwatch.config.settings import all_settings_of
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.uptime_record import UptimeRecord, content_of
from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.text import clean
from envwatch.storage.state_file import UPTIME, merge, words_in
from envwatch.watch.state_files import uptime_file_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.model.outcome import Listed

HOUR = 3_600_000.0
WEEK = Uptime().after(168 * HOUR, is_up=True)
NEW = Uptime(at=120.5 * HOUR).after(168 * HOUR, is_up=True)
OFTEN_DOWN = Uptime(at=24 * HOUR).after(140 * HOUR, is_up=False).after(155 * HOUR, is_up=True)
OFTEN_DOWN = OFTEN_DOWN.after(168 * HOUR, is_up=True)
MAC: dict[str, Any] = {"metadata": {"os": "darwin"}}


def fleet(now: float) -> list[dict[str, Any]]:
    return [
        up("web-1", now),
        up("mac", now, **MAC),
        up("job", now),
        up("box-1", now, connectionName="box"),
        up("box-2", now, connectionName="box"),
        up("run", now, deviceId="sandbox-agent-1"),
    ]


@pytest.fixture
def server(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:  # noqa: ARG001  a home of its own
    scripted = Faulty(fleet)
    with running(scripted):
        monkeypatch.setenv("LETTA_API_KEY", KEY)
        monkeypatch.setenv("LETTA_BASE_URL", scripted.url)
        yield scripted


@pytest.fixture
def record_of_week(server: Faulty) -> None:
    rows = {"web-1": WEEK, "mac": OFTEN_DOWN, "job": NEW, "box-1": WEEK, "box-2": WEEK, "run": WEEK}
    (settings,) = all_settings_of({}, {})
    content = content_of(UptimeRecord(168 * HOUR, {clean(id_): uptime for id_, uptime in rows.items()}))
    merge(uptime_file_for(server.url.partition("://")[2], settings), UPTIME, content)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(options_in(["alerts", *arguments]))
    return code, *capfd.readouterr()


def refusal(*arguments: str) -> tuple[int, str]:
    with pytest.raises(StopError) as raised:
        run_command(options_in(["alerts", *arguments]))
    return raised.value.code, str(raised.value)


def words(home: Path) -> dict[str, bool]:
    return {id_: word.is_always for (_, id_), word in words_in(home / "envwatch" / "alerts-by-hand.json").items()}


@pytest.mark.usefixtures("record_of_week")
def test_each_row_is_listed_with_decision_share_and_rule(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd)
    assert code == 0
    assert [line.split(None, 4) for line in out.splitlines()] == [
        ["NAME", "ALERTS", "UP7D", "WHY"],
        ["box", "ox-1", "yes", "100", "%  up 100 % of 7 days"],
        ["box", "ox-2", "yes", "100", "%  up 100 % of 7 days"],
        ["job", "no", "-", "watched", "for 47 of 48 h"],
        ["mac", "no", "88", "%", "up 88 % of 5 days"],
        ["run", "no", "100", "%", "a managed sandbox"],
        ["web-1", "yes", "100", "%", "up 100 % of 7 days"],
    ]
    assert err == "3 rows count, 1 not permanent, 1 in a sandbox, 1 watched for under two days\n"


@pytest.mark.usefixtures("record_of_week")
def test_a_filter_and_json_give_the_same_decisions_to_programs(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "--filter", "up7d:<90", "-o", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == [
        {
            "id": "mac",
            "name": "mac",
            "profile": None,
            "alerting": False,
            "alerting_rule": "uptime",
            "why": "up 88 % of 5 days",
            "up7d": 0.8877,
        }
    ]
    for query, ids in (("permanent:yes", ["box-1", "box-2", "run", "web-1"]), ("permanent:no", ["job", "mac"])):
        assert [row["id"] for row in json.loads(run(capfd, "--filter", query, "-o", "json")[1])] == ids


@pytest.mark.usefixtures("server")
def test_a_name_of_several_rows_is_refused_with_their_ids(empty_home: Path) -> None:
    code, text = refusal("set", "box", "never")
    assert (code, text) == (2, "2 environments are called box: name one by its id: box-1, box-2")
    assert words(empty_home) == {}


@pytest.mark.parametrize(
    ("what", "refused"),
    [
        ("boxx", (1, "no environment is called boxx; a filter has a field: name:boxx*")),
        ("name:boxx", (1, "name:boxx matches none of 6 environments")),
        ("beat:soon", (2, "NAME|QUERY: write a duration like 1h30m or a date like 2026-11-24T03:00 (at character 6")),
        ("*", (2, "this filter marks every environment; confirm with --yes")),
        ("!name:none-such", (2, "this filter marks every environment; confirm with --yes")),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_word_for_no_row_or_without_a_yes_for_every_row_is_refused(
    empty_home: Path, what: str, refused: tuple[int, str]
) -> None:
    code, text = refusal("set", what, "never")
    assert (code, text[: len(refused[1])]) == refused
    assert words(empty_home) == {}


@pytest.mark.usefixtures("server")
def test_without_a_listing_nothing_is_listed_or_set(
    empty_home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "http://127.0.0.1:9")
    for arguments in ((), ("set", "web-1", "never")):
        code, out, err = run(capfd, *arguments)
        assert (code, out) == (3, "")
        assert err.startswith("envwatch: unreachable: ")
    assert words(empty_home) == {}


def outages(now: float) -> Iterator[Listed]:
    """Yield 20 minutes: env-2 is down for six minutes, env-3 for one minute, env-1 always up."""
    for at in range(int(now) - 1_200_000, int(now) + 1, 5_000):
        rows = beating(4, at)
        ago = now - at
        for place, is_down in ((1, 300_000 <= ago < 660_000), (2, 300_000 <= ago < 360_000), (3, ago < 600_000)):
            if is_down:
                rows[place] = beating(4, at, connectionId=None, podId=None)[place]
        yield listed(rows, at)


def test_since_lists_the_recorded_outages_that_would_have_been_told_by_the_present_rules(
    empty_home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "https://work.example")
    writer = FolderWriter(history_folder(empty_home / "envwatch", "default", "work.example"), Retention())
    record(writer, outages(time.time() * 1000))
    writer.close()
    (settings,) = all_settings_of({}, {})
    rows = {"env-2": WEEK, "env-3": WEEK, "env-4": OFTEN_DOWN}
    content = content_of(UptimeRecord(168 * HOUR, {clean(id_): uptime for id_, uptime in rows.items()}))
    merge(uptime_file_for("work.example", settings), UPTIME, content)
    code, out, err = run(capfd, "--since", "15m")
    assert len(out.splitlines()) == 2, out
    titles, line = out.splitlines()
    assert (code, titles.split()) == (0, ["BEGAN", "LASTED", "NAME", "WHY"])
    assert line.split(None, 2)[2].split() == ["6m", "laptop", "of", "env-2", "disconnected"]
    assert err == "1 outage would have been told, 1 too short, 1 of rows that do not count\n"
    (found,) = json.loads(run(capfd, "--since", "15m", "-o", "json")[1])
    assert list(found) == ["id", "name", "profile", "began_at", "ended_at", "lasted_s", "reason"]
    assert (found["id"], found["profile"], found["lasted_s"]) == ("env-2", None, 360.0)
    assert found["reason"] == "disconnected"
    assert json.loads(run(capfd, "--since", "15m", "-o", "json", "--filter", "id:env-3")[1]) == []
