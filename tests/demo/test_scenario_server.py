"""A scenario's server over real sockets: failures, wrong `Date`, and started listeners."""

from __future__ import annotations

import subprocess
import sys
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from support.demo_client import KEY, LISTING, START, Client, Clock

from envwatch.demo import start_listener
from envwatch.demo.scenarios import FleetSpec, Scenario
from envwatch.demo.server import LISTENER_PATH, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Iterator[Server]:
    with Server(FleetSpec(40, 7, Scenario.OUTAGE), key=KEY, now=clock) as running:
        yield running


@pytest.fixture
def client(outage: Server) -> Iterator[Client]:
    with Client(outage.base_url) as plain:
        yield plain


def lost(client: Client, clock: Clock) -> list[str]:
    before = {row["id"] for row in client.rows() if row["connectionId"]}
    clock.now = START + 20_000
    return [
        row["id"]
        for row in client.rows()
        if row["id"] in before and not row["connectionId"] and not row["deviceId"].startswith("sandbox-")
    ]


def command(base_url: str, id_: str, key: str = KEY) -> tuple[int, str]:
    environ = {start_listener.KEY_VARIABLE: key, "ENVWATCH_ID": id_}
    arguments = [sys.executable, "-P", start_listener.__file__, base_url]
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


def test_in_the_night_it_answers_503_for_a_while(clock: Clock) -> None:
    with (
        Server(FleetSpec(5, 7, Scenario.NIGHT), key=KEY, now=clock) as server,
        Client(server.base_url) as plain,
    ):
        statuses = []
        for seconds in (0, 71, 72, 141, 142):
            clock.now = START + seconds * 1_000
            statuses.append(plain.ask(LISTING).status)
        assert statuses == [200, 200, 503, 503, 200]


def test_in_the_night_its_date_is_wrong_for_a_while(clock: Clock) -> None:
    with (
        Server(FleetSpec(5, 7, Scenario.NIGHT), key=KEY, now=clock) as server,
        Client(server.base_url) as plain,
    ):
        errors = []
        for seconds in (47, 48, 65, 66):
            clock.now = START + seconds * 1_000
            date = parsedate_to_datetime(plain.ask(LISTING).headers["Date"]).timestamp()
            errors.append(date - clock.now // 1_000)
        assert errors == [0, 600, 600, 0]


def test_the_command_of_a_row_starts_its_listener_and_the_others_of_its_pod_follow(
    outage: Server, client: Client, clock: Clock
) -> None:
    down = lost(client, clock)
    assert len(down) >= 5
    assert command(outage.base_url, down[0]) == (0, "")
    clock.now += 10_000
    assert {row["id"] for row in client.rows() if row["connectionId"]} >= set(down)


def test_the_command_says_why_nothing_starts(outage: Server, client: Client, clock: Clock) -> None:
    down = lost(client, clock)
    up = next(row["id"] for row in client.rows() if row["connectionId"])
    assert command(outage.base_url, up) == (1, "it is up, or a sandbox, which returns with its pod")
    assert command(outage.base_url, down[0], "another-key") == (1, "{'message': 'Unauthorized'}")
    assert "Not Found" in command(outage.base_url, "env-unknown")[1]
    outage.close()
    code, said = command(outage.base_url, down[0])
    assert code == 1
    assert said.startswith("the demo's server does not answer: ")


@pytest.mark.parametrize("scenario", [None, Scenario.CALM, Scenario.NIGHT])
def test_other_stories_have_no_such_route(scenario: Scenario | None, clock: Clock) -> None:
    with Server(FleetSpec(40, 7, scenario), key=KEY, now=clock) as server, Client(server.base_url) as plain:
        answer = plain.ask(f"{LISTENER_PATH}env-1", method="POST")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_a_listener_is_started_with_the_key_only(outage: Server) -> None:
    with Client(outage.base_url, key=None) as plain:
        assert plain.ask(f"{LISTENER_PATH}env-1", method="POST").status == 401
        assert plain.ask(LISTING, method="POST").status == 404
