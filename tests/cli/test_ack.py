"""`envwatch ack`: who gets an acknowledgement, what the command says, and what is kept where."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.faulty_server import KEY, Faulty, Reply, down, running, says, up
from support.incidents import incident_of
from support.serve_program import TOKEN, serve_program, tokens_file, upstream
from support.upstream import wait_until

from envwatch.cli.arguments import StopError, options_in
from envwatch.cli.commands.ack import run as run_command
from envwatch.config.credentials import credentials_of
from envwatch.config.settings import all_settings_of
from envwatch.fleet.alerting.alert_state import AlertState, content_of
from envwatch.fleet.events import Event, Kind
from envwatch.model.acks import Ack, AckRequest
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import clean
from envwatch.sources.poller import read_clocks
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, ALERT_STATE, acknowledged, merge
from envwatch.watch.profiles import alert_file_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import ServerKey

STARTED = time.time() * 1000
HOSTILE = "\x1b]0;owned\x07\u202ee\nvil"
UUID = clean("0f0e0d0c-0b0a-4908-8706-05040302010a")
OLD = Ack(STARTED - 180_000, clean("by hand"), STARTED, by=clean("ann"), uuid=UUID)


def fleet(now: float) -> list[dict[str, Any]]:
    return [
        up("web-1", now),
        down("web-2", STARTED - 60_000),
        down("web-3", STARTED - 90_000),
        down("evil", STARTED - 90_000, connectionName=HOSTILE),
        down("box-1", STARTED - 90_000, connectionName="box"),
        down("box-2", STARTED - 90_000, connectionName="box"),
    ]


@pytest.fixture
def server(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:  # noqa: ARG001  a home of its own
    scripted = Faulty(fleet)
    with running(scripted):
        monkeypatch.setenv("LETTA_API_KEY", KEY)
        monkeypatch.setenv("LETTA_BASE_URL", scripted.url)
        yield scripted


def marked(id_: str, **mark: Any) -> Callable[[float], list[dict[str, Any]]]:
    """Return a script with one row's field `envwatch`."""
    return lambda now: [{**row, "envwatch": mark} if row["id"] == id_ else row for row in fleet(now)]


def be_envwatch(server: Faulty, answer: Callable[[Reply], Reply] | None = None) -> None:
    """Answer as `envwatch serve`; the answer to acknowledgements is a 404 by default."""
    server.break_every_page(lambda reply: replace(reply, headers={**reply.headers, "Envwatch-Listing-Age": "0.100"}))
    server.break_health(says(200, '{"version": "envwatch-2.0.0", "status": "ok"}'))
    server.answer_acks(*filter(None, [answer]))


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(options_in(["ack", *arguments]))
    return code, *capfd.readouterr()


def refusal(*arguments: str) -> tuple[int, str]:
    with pytest.raises(StopError) as raised:
        run_command(options_in(["ack", *arguments]))
    return raised.value.code, str(raised.value)


def kept(home: Path) -> dict[str, Ack]:
    return {id_: ack for (_, id_), ack in acknowledged(home / "envwatch" / "acknowledged.json").items()}


def sent(server: Faulty) -> list[tuple[str, str, bytes]]:
    return [(seen.method, seen.path.rpartition("/")[2], seen.body) for seen in server.seen if seen.method != "GET"]


def test_an_acknowledgement_of_another_server_is_kept_in_this_machines_file(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capfd, "name:web-*", "--note", "new disk", "--for", "4h", "--yes")

    acks = kept(empty_home)
    uuid = out.strip()
    assert (code, {*acks}, {ack.uuid for ack in acks.values()}) == (0, {"web-2", "web-3"}, {uuid})
    ack = acks["web-2"]
    assert (ack.sign_at, ack.address) == (STARTED - 60_000, "")
    assert ack.note.isprintable()
    assert ack.note == clean("new disk")
    assert ack.until == ack.at + 4 * 3_600_000
    assert abs(ack.at - time.time() * 1000) < 60_000
    assert err.splitlines()[0] == "name:web-* matches 2 problems now: web-2, web-3"
    assert err.splitlines()[1].startswith("acknowledged on this machine until ")
    assert sent(server) == []


@pytest.mark.usefixtures("server")
def test_an_acknowledgement_without_an_end_lasts_until_the_row_is_back(
    empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, "web-2")
    assert (code, kept(empty_home)["web-2"].until) == (0, None)
    assert err == "acknowledged on this machine until it is back: web-2\n"


@pytest.mark.parametrize(
    ("what", "refused"),
    [
        ("box", (2, "2 environments are called box: name one by its id: box-1, box-2")),
        ("boxx", (1, "no environment is called boxx; a filter has a field: name:boxx*")),
        ("name:boxx", (1, "name:boxx matches none of 6 environments")),
        ("beat:soon", (2, "NAME|QUERY|INCIDENT: write a duration like 1h30m or a date")),
        ("inc-9d3f00aa17c4", (1, "no open incident is called inc-9d3f00aa17c4: its rows may be back; ")),
        ("*", (2, "this filter acknowledges every problem; confirm with --yes")),
        ("!name:web-1", (2, "this filter acknowledges every problem; confirm with --yes")),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_wrong_name_or_every_problem_without_a_yes_is_refused(
    empty_home: Path, what: str, refused: tuple[int, str]
) -> None:
    code, text = refusal(what)
    assert (code, text[: len(refused[1])]) == refused
    assert kept(empty_home) == {}


@pytest.mark.usefixtures("server")
def test_rows_that_are_up_or_acknowledged_are_named_and_nothing_changes(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(capfd, "web-1") == (1, "", "nothing to acknowledge: web-1 is up\n")
    keep(empty_home, server, "web-2")
    code, out, err = run(capfd, "web-2")
    assert (code, out) == (0, "")
    assert re.fullmatch(r"already acknowledged by ann, \d+m ago: web-2\n", err)
    assert kept(empty_home) == {"web-2": OLD}


def keep(home: Path, server: Faulty, id_: str, **changes: Any) -> None:
    key: ServerKey = (clean(server.url.partition("://")[2]), clean(id_))
    merge(home / "envwatch" / "acknowledged.json", ACKNOWLEDGEMENTS, {key: replace(OLD, **changes)})


@pytest.mark.usefixtures("empty_home")
def test_a_hostile_name_stays_on_its_line(server: Faulty, capfd: pytest.CaptureFixture[str]) -> None:
    be_envwatch(server, says(200, json.dumps({"rows": [{"id": "evil", "result": "already", "by": HOSTILE, "at": 0}]})))
    code, _, err = run(capfd, "evil")
    assert (code, err.count("\n")) == (0, 1)
    assert err.strip().isprintable()


def test_an_envwatch_server_gets_the_acknowledgement_and_this_machine_keeps_none(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = {"web-2": "acked", "web-3": "already", "evil": "recovered", "box-1": "other_loss", "box-2": "unknown"}
    rows = [{"id": id_, "result": result, "by": "bob", "at": STARTED - 200_000} for id_, result in results.items()]
    be_envwatch(server, says(200, json.dumps({"rows": rows})))
    code, out, err = run(capfd, "status:offline", "--note", "disk", "--for", "1h", "--yes")

    ((method, uuid, body),) = sent(server)
    request = AckRequest.from_json(json.loads(body))
    assert (method, code, out) == ("PUT", 1, f"{uuid}\n")
    assert [loss.sign_at for loss in request.losses if loss.id == "web-2"] == [STARTED - 60_000]
    assert len(request.losses) == 5
    assert (request.note, request.for_s) == ("disk", 3600.0)
    lines = err.splitlines()
    assert lines[-1].startswith(f"acknowledged for everybody at {server.url.partition('://')[2]} until ")
    assert {re.sub(r"\d+m ago", "a while ago", line) for line in lines[1:-1]} == {
        "already acknowledged by bob, a while ago: web-3",
        f"nothing to acknowledge, back again: {clean(HOSTILE)}",
        "lost again since, look again: box",
        "not known to the server: box",
    }
    assert kept(empty_home) == {}


def test_an_acknowledgement_of_this_machine_is_none_for_the_team(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(empty_home, server, "web-2")
    be_envwatch(server, says(200, json.dumps({"rows": [{"id": "web-2", "result": "acked"}]})))
    assert run(capfd, "web-2")[0] == 0
    assert [method for method, _, _ in sent(server)] == ["PUT"]


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (says(403), 4, "the token of this machine may not acknowledge: ask for the right `ack` at"),
        (says(401), 4, "answered 401"),
        (says(500), 1, "answered 500"),
        (says(429, Retry_After="7"), 1, "try again in 7 s"),
    ],
)
def test_a_refused_acknowledgement_is_kept_nowhere(  # noqa: PLR0917
    server: Faulty,
    empty_home: Path,
    capfd: pytest.CaptureFixture[str],
    answer: Callable[[Reply], Reply],
    code: int,
    message: str,
) -> None:
    be_envwatch(server, answer)
    found, out, err = run(capfd, "web-2")
    assert (found, out) == (code, "")
    assert err.startswith("envwatch: not acknowledged: ")
    assert message in err
    assert kept(empty_home) == {}


def test_an_older_server_leaves_the_acknowledgement_to_this_machine_and_says_so(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    be_envwatch(server)
    code, _, err = run(capfd, "web-2")
    assert (code, [*kept(empty_home)]) == (0, ["web-2"])
    assert "is too old for acknowledgements by viewers; acknowledged on this machine only\n" in err


def test_an_incident_of_the_serving_host_names_its_rows(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script = marked("web-3", incident="inc-9d3f00aa17c4")
    be_envwatch(server)
    assert run(capfd, "inc-9d3f00aa17c4")[0] == 0
    assert [*kept(empty_home)] == ["web-3"]


@pytest.mark.usefixtures("server")
def test_an_incident_of_this_machines_hook_process_names_its_rows_that_are_not_back(
    empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = [
        Event(kind=Kind.OFFLINE, at=ServerMs(STARTED - 60_000), id=clean(id_), name=clean(id_))
        for id_ in ("web-1", "web-2", "web-3")
    ]
    incident = incident_of(*lost)._replace(id=clean("inc-9d3f00aa17c4"))
    remaining = frozenset(key for key in incident.remaining if key[1] != "web-3")
    state = AlertState(looked_at=WallMs(STARTED), open=(incident._replace(remaining=remaining),))
    (settings,) = all_settings_of({}, {})
    credentials = credentials_of(settings, os.environ, now_ms=STARTED)
    merge(alert_file_for(credentials, settings), ALERT_STATE, content_of(state, read_clocks()))

    code, _, err = run(capfd, "inc-9d3f00aa17c4")
    assert (code, [*kept(empty_home)]) == (0, ["web-2"])
    assert err == "acknowledged on this machine until it is back: web-2\n"


def test_a_list_has_this_machines_and_the_servers_acknowledgements(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(empty_home, server, "web-2", until=STARTED + 3_600_000)
    keep(empty_home, server, "taken away", at=OLD.at + 2_000)
    keep(empty_home, server, "web-3", until=STARTED - 1_000)
    server.script = marked("evil", ack={"by": "bob", "at": OLD.at + 1_000, "note": HOSTILE, "uuid": UUID})
    be_envwatch(server)
    code, out, err = run(capfd, "list", "-o", "json")

    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [(each["id"], each["by"], each["served"], each["uuid"]) for each in found] == [
        ("web-2", "ann", False, UUID),
        ("evil", "bob", True, UUID),
        ("taken away", "ann", False, UUID),
    ]
    assert [each["until"] is None for each in found] == [False, True, True]
    _, table, _ = run(capfd, "list", "--filter", "name:web-2")
    assert [line.split()[0] for line in table.splitlines()] == ["NAME", "web-2"]
    assert all(line.isprintable() for line in run(capfd, "list")[1].splitlines())


def test_a_list_without_a_listing_has_this_machines_acknowledgements_by_id(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(empty_home, server, "evil")
    server.break_every_page(says(500))
    code, out, err = run(capfd, "list")
    assert (code, out.splitlines()[1].split()[0]) == (3, "evil")
    assert err.startswith("envwatch: only acknowledgements of this machine, and by id: server error: ")


@pytest.mark.parametrize("what", ["web-2", "name:web-2", UUID, UUID.upper()])
def test_an_end_on_this_machine_is_an_entry_with_an_end(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    keep(empty_home, server, "web-2")
    assert run(capfd, "end", what) == (0, "", "ended: web-2\n")
    ended = kept(empty_home)["web-2"]
    assert ended == replace(OLD, until=ended.until)
    assert abs((ended.until or 0.0) - time.time() * 1000) < 60_000
    code, text = refusal("end", what)
    assert (code, text.partition(": ")[2]) == (1, "nothing is acknowledged; `envwatch ack list` prints what is")


@pytest.mark.parametrize("what", ["web-3", "status:offline", UUID])
def test_an_end_on_the_server_is_sent_by_uuid(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    server.script = marked("web-3", ack={"by": "bob", "at": OLD.at, "note": "", "uuid": UUID})
    be_envwatch(server, says(200, "{}"))
    code, _, err = run(capfd, "end", what)
    assert (code, err) == (0, f"ended for everybody at {server.url.partition('://')[2]}: web-3\n")
    assert sent(server) == [("DELETE", UUID, b"")]
    assert kept(empty_home) == {}


def test_an_end_of_this_machines_uuid_is_not_sent(
    server: Faulty, empty_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(empty_home, server, "taken away")
    be_envwatch(server)
    assert run(capfd, "end", UUID) == (0, "", "ended: taken away\n")
    assert sent(server) == []


def test_an_end_of_an_unknown_uuid_asks_the_server(server: Faulty, capfd: pytest.CaptureFixture[str]) -> None:
    be_envwatch(server)
    code, _, err = run(capfd, "end", UUID)
    assert code == 1
    assert "knows no such acknowledgement: it may have ended already" in err


def test_a_servers_acknowledgement_without_a_uuid_is_ended_there(
    server: Faulty, capfd: pytest.CaptureFixture[str]
) -> None:
    server.script = marked("web-3", ack={"by": "bob", "at": OLD.at, "note": ""})
    be_envwatch(server)
    code, _, err = run(capfd, "end", "web-3")
    assert (code, sent(server)) == (1, [])
    assert "not ended: web-3 was acknowledged with an older envwatch: end it at " in err


def test_an_action_is_the_first_word_and_any_other_word_is_a_name() -> None:
    assert options_in(["ack", "list"]).action == "list"
    options = options_in(["ack", "--note", "list", "listed"])
    assert (options.what, options.note, options.action) == ("listed", "list", None)
    with pytest.raises(StopError, match=r"NAME\|QUERY\|INCIDENT is missing"):
        run_command(options_in(["ack"]))
    with pytest.raises(StopError, match="`envwatch ack list` takes no --note"):
        options_in(["ack", "list", "--note", "x"])


def test_a_team_sees_one_acknowledgement_and_the_platform_gets_nothing(
    server: Faulty, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "token-of-bob-0123456789"
    tokens_file(tmp_path, f"ann {TOKEN} ack\nbob {other}\n")
    with serve_program(upstream(tmp_path, server.url, KEY), tmp_path) as program:
        wait_until(lambda: program.ask().status == 200, "the first listing")
        monkeypatch.setenv("LETTA_BASE_URL", program.urls[0])

        def run_as(token: str, *arguments: str) -> tuple[int, str, str]:
            monkeypatch.setenv("LETTA_API_KEY", token)
            return run(capfd, *arguments)

        code, out, _ = run_as(TOKEN, "web-2", "--note", "disk swap")
        (found,) = json.loads(run_as(other, "list", "-o", "json")[1])
        assert (code, found["by"], found["note"], found["uuid"]) == (0, "ann", "disk swap", out.strip())
        assert [run_as(other, *words)[0] for words in (("web-3",), ("web-2",), ("end", "web-2"))] == [4, 0, 4]
        assert run_as(TOKEN, "end", "web-2")[0] == 0
        assert json.loads(run_as(other, "list", "-o", "json")[1]) == []
    assert sent(server) == []
