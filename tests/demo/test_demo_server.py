"""The demo API over real sockets: by plain HTTP and by the official SDK."""

from __future__ import annotations

import socket
import struct
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from letta_client import AuthenticationError, Letta, NotFoundError
from support.budget import examples
from support.demo_client import KEY, LISTING, START, Client, Clock, Row
from support.programs import wait_until

from envwatch.demo.fleet import DemoFleet
from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(130, key=KEY, now=Clock()) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(server.base_url) as plain:
        yield plain


@pytest.fixture(scope="module")
def listing() -> list[Row]:
    return DemoFleet(130, START).rows(START)


def exchange(base_url: str, request: bytes) -> bytes:
    host, port = base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        raw.sendall(request)
        answer = b""
        while chunk := raw.recv(65_536):
            answer += chunk
    return answer


def test_a_page_has_50_rows_unless_asked_otherwise(client: Client, listing: list[Row]) -> None:
    page = client.ask(LISTING).json
    assert page == {"connections": listing[:50], "hasNextPage": True}


@pytest.mark.parametrize(("limit", "rows"), [("1", 1), ("100", 100), ("101", 100), ("999999999", 100)])
def test_a_large_limit_is_cut_down_silently(client: Client, limit: str, rows: int) -> None:
    assert len(client.ask(f"{LISTING}?limit={limit}").json["connections"]) == rows


@given(limit=st.integers(1, 140))
@example(limit=65)
@settings(max_examples=examples(40), deadline=None)
def test_the_pages_of_any_limit_joined_are_the_whole_listing(client: Client, listing: list[Row], limit: int) -> None:
    assert client.rows(limit=limit) == listing
    if limit <= 100 and 130 % limit == 0:
        assert {len(page) for page in client.pages("", limit)} == {limit}, "a full last page has no next page"


def test_an_unknown_cursor_starts_from_the_top(client: Client, listing: list[Row]) -> None:
    assert client.ask(f"{LISTING}?limit=3&after=env-unknown").json["connections"] == listing[:3]


def test_a_cursor_within_a_page_works_as_well(listing: list[Row]) -> None:
    with Server(130, key=KEY, now=Clock()) as fresh, Client(fresh.base_url) as plain:
        page = plain.ask(f"{LISTING}?limit=2&after={listing[77]['id']}").json
        assert page["connections"] == listing[78:80]


def test_each_filter_keeps_its_rows_and_filters_hold_together(client: Client, listing: list[Row]) -> None:
    user = next(row["userId"] for row in listing if "userId" in row)
    online = [row for row in listing if row["connectionId"] and START - row["lastHeartbeat"] < 120_000]
    local = [row for row in listing if row["organizationId"] == "local"]
    theirs = [row for row in listing if row.get("userId") == user]
    assert all(0 < len(rows) < len(listing) for rows in (online, local, theirs))
    assert client.rows("&onlineOnly=true", limit=7) == online
    assert client.rows("&onlineOnly=false") == listing
    assert client.rows("&source=local", limit=2) == local
    assert client.rows("&source=remote") == [row for row in listing if row not in local]
    assert client.rows(f"&userId={user}", limit=3) == theirs
    assert client.rows("&userId=unknown") == []
    all_three = [row for row in online if row in theirs and row not in local]
    assert client.rows(f"&onlineOnly=true&source=remote&userId={user}") == all_three


def test_an_unknown_parameter_changes_nothing(client: Client, listing: list[Row]) -> None:
    assert client.rows("&colour=green") == listing


@pytest.mark.parametrize(
    "query",
    [
        *("limit=abc", "limit=", "limit=0", "limit=-1", "limit=1.5", "limit=%D9%A3", "limit=" + "9" * 5_000),
        *("onlineOnly=yes", "onlineOnly=", "source=moon", "source="),
    ],
)
def test_a_bad_parameter_is_400(client: Client, query: str) -> None:
    answer = client.ask(f"{LISTING}?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["error"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", KEY, f"Basic {KEY}", "Bearer ünknown"])
@pytest.mark.parametrize("path", [LISTING, f"{LISTING}/device"])
def test_a_request_without_the_key_is_401(server: Server, authorization: str | None, path: str) -> None:
    with Client(server.base_url, key=None) as plain:
        answer = plain.ask(path, **({} if authorization is None else {"Authorization": authorization}))
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})


def test_every_device_can_be_asked_for_by_its_id(client: Client, listing: list[Row]) -> None:
    newest: dict[str, Row] = {}
    for row in listing:
        newest.setdefault(row["deviceId"], row)
    for device_id, row in newest.items():
        assert client.ask(f"{LISTING}/{quote(device_id, safe='')}").json == row
    desktop = next(device_id for device_id in newest if device_id.startswith("desktop:"))
    assert client.ask(f"{LISTING}/{desktop}").json == newest[desktop]
    assert client.ask(f"{LISTING}/desktop%3a{desktop.removeprefix('desktop:')}").json == newest[desktop]


@pytest.mark.parametrize("device", ["unknown", "a%2Fb", "%ff", ""])
def test_an_unknown_device_is_404_with_an_error(client: Client, device: str) -> None:
    answer = client.ask(f"{LISTING}/{device}")
    assert (answer.status, list(answer.json)) == (404, ["error"])


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/agents", "/v1/environmentsx", f"{LISTING}/a/b", "/v1/environment"])
def test_any_other_path_is_404_as_on_a_self_hosted_server(client: Client, path: str) -> None:
    answer = client.ask(path)
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("method", ["POST", "DELETE", "BREW"])
def test_any_other_method_is_refused(server: Server, method: str) -> None:
    with Client(server.base_url) as plain:
        answer = plain.ask(LISTING, method=method)
        assert (answer.status, answer.headers["Connection"]) == (501, "close")


@pytest.mark.parametrize(
    "request_line", [b"nonsense", b"GET / HTTP/9.9", b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"GET  x y z"]
)
def test_a_malformed_request_is_refused(server: Server, request_line: bytes) -> None:
    assert b"Error code: " in exchange(server.base_url, request_line + b"\r\n\r\n")


def test_every_response_has_the_date_by_the_clock_of_the_heartbeats(client: Client) -> None:
    for path in (LISTING, f"{LISTING}/unknown", "/elsewhere", f"{LISTING}?limit=abc"):
        assert parsedate_to_datetime(client.ask(path).headers["Date"]).timestamp() == START // 1_000


def test_a_connection_is_kept_even_after_a_refusal(server: Server) -> None:
    with Client(server.base_url) as plain:
        plain.connection.connect()
        kept = plain.connection.sock
        for path in (LISTING, "/elsewhere", f"{LISTING}?limit=abc", f"{LISTING}/unknown", LISTING):
            plain.ask(path)
            assert plain.connection.sock is kept


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    request = b"GET /v1 HTTP/1.1\r\nHost: demo\r\n\r\n"
    last = b"GET /v1 HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"
    assert exchange(server.base_url, request * 3 + last).count(b"HTTP/1.1 404 Not Found") == 4


def test_the_fleet_lives_by_the_clock() -> None:
    clock = Clock()
    with Server(40, key=KEY, now=clock) as running, Client(running.base_url) as plain:
        before = plain.rows()
        clock.now += 20_000
        assert plain.rows() == DemoFleet(40, START).rows(START + 20_000) != before


def test_an_empty_fleet_is_an_empty_page() -> None:
    with Server(0, key=KEY) as empty, Client(empty.base_url) as plain:
        assert plain.ask(LISTING).json == {"connections": [], "hasNextPage": False}


def test_closing_cuts_open_connections_and_may_be_done_twice() -> None:
    running = Server(1, key=KEY)
    with Client(running.base_url) as plain:
        plain.ask(LISTING)
        running.close()
        running.close()
        assert plain.connection.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        Client(running.base_url).ask(LISTING)


def test_a_closed_connection_is_forgotten() -> None:
    with Server(1, key=KEY) as running:
        for _ in range(3):
            exchange(running.base_url, b"GET /v1 HTTP/1.0\r\n\r\n")
        wait_until(lambda: not running._connections, "no connection is kept")  # noqa: SLF001


@pytest.mark.parametrize("sent", [b"GET /v1/envir", b"GET /v1 HTTP/1.1\r\nHost: demo\r\n\r\n" * 5_000])
def test_a_leaving_client_leaves_no_trace_on_the_screen(sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with Server(1, key=KEY) as running:
        host, port = running.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset instead of an end
            rude.sendall(sent)
        with Client(running.base_url) as plain:
            assert plain.ask(LISTING).status == 200
    assert capfd.readouterr() == ("", "")


# The official SDK.


@pytest.fixture
def sdk(server: Server) -> Iterator[Letta]:
    with Letta(api_key=KEY, base_url=server.base_url, max_retries=0) as official:
        yield official


def test_the_sdk_reads_the_same_rows_page_by_page(sdk: Letta, listing: list[Row]) -> None:
    ids: list[str] = []
    page = sdk.environments.list(limit="40")
    ids += [row.id for row in page.connections]
    while page.has_next_page:
        page = sdk.environments.list(limit="40", after=ids[-1])
        ids += [row.id for row in page.connections]
    assert ids == [row["id"] for row in listing]


def test_the_sdk_filters(sdk: Letta) -> None:
    online = sdk.environments.list(limit="100", online_only="true").connections
    assert online
    assert all(row.connection_id for row in online)
    assert {row.organization_id for row in sdk.environments.list(source="local").connections} == {"local"}


def test_the_sdk_reads_every_field_of_its_own(sdk: Letta, listing: list[Row]) -> None:
    wire = next(row for row in listing if row.get("metadata", {}).get("self_update", {}).get("manual_command"))
    row = sdk.environments.retrieve(wire["deviceId"])
    assert (row.id, row.connection_name, row.pod_id) == (wire["id"], wire["connectionName"], wire["podId"])
    assert (row.first_seen_at, row.last_heartbeat) == (wire["firstSeenAt"], wire["lastHeartbeat"])
    listed = next(each for each in sdk.environments.list(limit="100").connections if each.id == wire["id"])
    assert listed.metadata is not None
    assert listed.metadata.letta_code_version == wire["metadata"]["lettaCodeVersion"]
    assert listed.metadata.working_directory == wire["metadata"]["workingDirectory"]
    assert listed.metadata.self_update == wire["metadata"]["self_update"]
    assert listed.metadata.supported_commands == wire["metadata"]["supported_commands"]


def test_the_sdk_finds_a_device_with_a_colon_and_raises_for_an_unknown_device_and_a_wrong_key(
    server: Server, sdk: Letta, listing: list[Row]
) -> None:
    wire = next(row for row in listing if row["deviceId"].startswith("desktop:"))
    assert sdk.environments.retrieve(wire["deviceId"]).id == wire["id"]
    with pytest.raises(NotFoundError):
        sdk.environments.retrieve("unknown")
    with Letta(api_key="wrong", base_url=server.base_url, max_retries=0) as wrong, pytest.raises(AuthenticationError):
        wrong.environments.list()
