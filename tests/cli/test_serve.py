"""`envwatch serve` as users run it: the real program between a real server and real viewers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from letta_client import AuthenticationError, InternalServerError, Letta, NotFoundError
from support.demo_client import Client
from support.faulty_server import KEY as UPSTREAM_KEY
from support.faulty_server import Faulty, listening, up
from support.programs import TIMEOUT_S
from support.pty_terminal import environment
from support.serve_program import (
    LISTING,
    TOKEN,
    ServeProgram,
    demo_server,
    environ_with_tokens,
    run,
    serve_program,
    tokens_file,
    upstream,
)
from support.serve_program import UPSTREAM_KEY as KEY
from support.serving import until

from envwatch.cli.arguments import Exit
from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = "token-of-ben-0123456789"
CERT = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"
AGES = {"heartbeat_age_s", "reason", "last_heartbeat_at", "last_seen_at"}
DECISION = {"alerting", "alerting_rule", "up7d", "unknown"}
"""The decision of the serving host, which is an unknown field of a served row."""


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with demo_server() as server:
        yield server


@pytest.fixture
def environ(demo: Server, tmp_path: Path) -> dict[str, str]:
    return environ_with_tokens(demo, tmp_path)


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[ServeProgram]:
    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask().status == 200)
        yield program
        assert KEY not in program.said
        assert TOKEN not in program.said


def listing(home: Path, url: str, key: str) -> list[dict[str, Any]]:
    ended = run(upstream(home, url, key), "list", "-o", "json")
    assert ended.returncode == Exit.FINE, ended.stderr
    rows = json.loads(ended.stdout)["environments"]
    for row in rows:
        row["unknown"].pop("envwatch", None)  # the decision of the serving host
    return sorted(
        ({name: value for name, value in row.items() if name not in AGES | DECISION} for row in rows),
        key=lambda r: r["id"],
    )


def test_a_viewer_sees_the_rows_and_states_that_it_would_see_upstream(
    demo: Server, serve: ServeProgram, tmp_path: Path
) -> None:
    home = tmp_path / "viewer"
    home.mkdir()
    assert serve.urls == [f"http://127.0.0.1:{serve.port}"]

    def is_same() -> bool:
        # The fleet goes on meanwhile: rows that changed between the first and the last look are not compared.
        before = listing(home, demo.base_url, KEY)
        served = listing(home, serve.urls[0], TOKEN)
        return before == served and len(served) >= 60

    until(is_same)


def test_the_official_sdk_lists_and_retrieves(serve: ServeProgram) -> None:
    with Letta(api_key=TOKEN, base_url=serve.urls[0], max_retries=0) as sdk:
        page = sdk.environments.list(limit="40")
        assert len(page.connections) == 40
        assert page.has_next_page
        row = page.connections[0]
        assert sdk.environments.retrieve(str(row.device_id)).device_id == row.device_id
        with pytest.raises(NotFoundError):
            sdk.environments.retrieve("no-such-device")
    with Letta(api_key=KEY, base_url=serve.urls[0], max_retries=0) as sdk, pytest.raises(AuthenticationError):
        sdk.environments.list()


def test_it_has_metrics_for_those_who_have_a_token(serve: ServeProgram) -> None:
    assert serve.ask("/metrics", None).status == 401
    scraped = serve.ask("/metrics")
    assert b'envwatch_up{profile="default"} 1.0' in scraped.body
    assert TOKEN.encode() not in scraped.body


def test_its_metrics_say_of_each_hook_whether_it_fails(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "hooks.toml"
    config.write_text(f'serve_tokens_file = "{tokens_file(tmp_path)}"\n[[hooks]]\nname = "page"\ncommand = ["true"]\n')
    with serve_program(environ | {"ENVWATCH_CONFIG": str(config)}, tmp_path, "--hooks") as program:
        until(lambda: b'envwatch_hook_failing{hook="page"} 0.0' in program.ask("/metrics").body)


def test_changed_tokens_are_taken_without_a_restart_and_a_mistake_in_them_changes_nothing(
    serve: ServeProgram, tmp_path: Path
) -> None:
    assert serve.ask(token=OTHER).status == 401
    path = tokens_file(tmp_path, f"ben {OTHER}\n")
    until(lambda: serve.ask(token=OTHER).status == 200)
    assert serve.ask().status in {401, 429}
    path.chmod(0o644)
    until(lambda: "the tokens stay as they were" in serve.said)
    assert "can be read by others: `chmod 600 " in serve.said
    assert serve.ask(token=OTHER).status == 200
    path.unlink()
    until(lambda: "there is no file of tokens" in serve.said)
    assert serve.ask(token=OTHER).status == 200
    tokens_file(tmp_path)
    until(lambda: serve.ask().status == 200)
    assert serve.said.count("the tokens stay as they were") == 2


def test_a_signal_ends_it_gracefully(serve: ServeProgram) -> None:
    with Client(serve.urls[0], TOKEN) as viewer:
        assert viewer.ask(LISTING).status == 200
        serve.process.send_signal(signal.SIGTERM)
        while (stopping := viewer.ask(LISTING)).status == 200:
            pass  # no pause: the notice is visible only briefly
        assert (stopping.status, stopping.json["errorCode"]) == (503, "envwatch_stopping")
        assert int(stopping.headers["Retry-After"]) >= 1
        assert serve.process.wait(TIMEOUT_S) == Exit.TERMINATED
    with pytest.raises(ConnectionRefusedError):
        serve.ask()
    assert serve.said.count("\n") == 1, serve.said


def test_an_interrupt_ends_it_without_a_word(serve: ServeProgram) -> None:
    assert serve.end(signal.SIGINT) == Exit.INTERRUPTED
    assert serve.said.count("\n") == 1, serve.said


def test_a_second_one_on_the_same_port_says_so_in_one_line(serve: ServeProgram, environ: dict[str, str]) -> None:
    ended = run(environ, "serve", "--bind", f"127.0.0.1:{serve.port}")
    assert (ended.returncode, ended.stdout) == (Exit.FAILED, b"")
    reason = f"127.0.0.1:{serve.port} is in use, maybe by another `envwatch serve`; --bind takes another"
    assert ended.stderr.decode() == f"envwatch: {reason}\n"
    assert serve.ask().status == 200


def test_systemd_is_notified_of_the_start_each_listing_and_the_end(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT_S)
        environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        with serve_program(environ, tmp_path) as program:
            assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
            assert program.end() == Exit.TERMINATED
        messages = [manager.recv(100)]
        while messages[-1] != b"STOPPING=1":
            messages.append(manager.recv(100))
        assert set(messages[:-1]) <= {b"WATCHDOG=1"}


@pytest.mark.parametrize(
    ("key", "cause"), [("wrong-key-0123456789", "Is the key from LETTA_API_KEY right"), (KEY, "nothing listens at")]
)
def test_before_the_first_listing_viewers_read_why_there_is_none(
    key: str, cause: str, demo: Server, tmp_path: Path
) -> None:
    tokens_file(tmp_path)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = demo.base_url if key != KEY else f"http://127.0.0.1:{closed.getsockname()[1]}"
        with serve_program(upstream(tmp_path, url, key), tmp_path) as program:
            until(lambda: cause in program.ask().json.get("error", ""))
            answer = program.ask()
            assert (answer.status, answer.json["errorCode"]) == (503, "envwatch_waiting")
            assert key not in answer.body.decode()
            assert program.ask("/v1/health", None).status == 200
            with (
                Letta(api_key=TOKEN, base_url=program.urls[0], max_retries=0) as sdk,
                pytest.raises(InternalServerError),
            ):
                sdk.environments.list()
            assert program.end() == Exit.TERMINATED
            assert key not in program.said


LISTED = 60


def in_order(seed: int) -> list[dict[str, Any]]:
    """Return rows in the seed's order; the pod names the seed."""
    rows = [up(f"env-{number}", time.time() * 1_000, podId=f"pod-{seed}") for number in range(LISTED)]
    random.Random(seed).shuffle(rows)
    return rows


def let_upstream_list(server: Faulty, rows: list[dict[str, Any]]) -> None:
    polls = len(server.seen)
    server.script = lambda _: rows
    # Requests for single devices come between two polls.
    until(lambda: sum(seen.path == LISTING for seen in server.seen[polls:]) > 1)


async def test_each_of_60_walks_reads_one_whole_listing_while_upstream_reorders_its_rows(tmp_path: Path) -> None:
    tokens_file(tmp_path)
    first = in_order(0)
    server = Faulty(lambda _: first)

    def walk(program: ServeProgram) -> list[list[dict[str, Any]]]:
        until(lambda: program.ask().status == 200)
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(program.urls[0], TOKEN)) for _ in range(60)]
            walks, found = [client.pages("", 7) for client in clients], [list[dict[str, Any]]() for _ in clients]
            for turn in range(10):
                for number, pages in enumerate(walks):
                    if turn or number % 2:  # the second half begins with the next listing
                        found[number] += next(pages, [])
                if turn < 3:
                    let_upstream_list(server, in_order(turn + 1))
            return found

    async with listening(server):
        with serve_program(upstream(tmp_path, server.url, UPSTREAM_KEY), tmp_path) as program:
            found = await asyncio.to_thread(walk, program)
    for number, rows in enumerate(found):
        assert {row["podId"] for row in rows} == {f"pod-{1 - number % 2}"}, "rows of another listing"
        assert [row["id"] for row in rows] == [row["id"] for row in in_order(1 - number % 2)]


async def test_a_quarantined_listing_reaches_no_viewer(tmp_path: Path) -> None:
    config = tokens_file(tmp_path).with_name("config.toml")
    config.write_text("requests_per_minute = 6000\n")  # requests for vanished rows then stretch no interval
    first = in_order(0)
    server = Faulty(lambda _: first)
    server.unlisted = first

    def check(program: ServeProgram) -> None:
        until(lambda: program.ask().status == 200)
        silent = [row | {"lastHeartbeat": None} for row in in_order(9)]
        with Client(program.urls[0], TOKEN) as viewer:
            for seed, unlikely in enumerate([[], in_order(9)[:7], silent], 1):
                believed = in_order(seed)
                let_upstream_list(server, believed)
                let_upstream_list(server, unlikely)
                rows = viewer.rows(limit=7)
                assert [row.pop("envwatch").keys() for row in rows] == [{"alerts"}] * len(rows)
                assert rows == believed
                assert float(viewer.ask(LISTING).headers["Envwatch-Listing-Age"]) > 1

    async with listening(server):
        with serve_program(upstream(tmp_path, server.url, UPSTREAM_KEY), tmp_path) as program:
            await asyncio.to_thread(check, program)


# Several profiles, TLS.


def test_several_profiles_have_a_base_url_each_that_envwatch_takes(demo: Server, tmp_path: Path) -> None:
    tokens_file(tmp_path)
    config, viewer = tmp_path / ".config" / "envwatch" / "config.toml", tmp_path / "viewer"
    viewer.mkdir()
    with Server(20, key=KEY) as other:
        servers = {"work": demo, "home": other}
        sections = (f'[profiles.{name}]\nbase_url = "{each.base_url}"\n' for name, each in servers.items())
        config.write_text("api_key_env = 'A'\n" + "".join(sections))
        names = ",".join(servers)
        with serve_program(environment(tmp_path, A=KEY), tmp_path, "--profile", names, profiles=2) as program:
            root = f"http://127.0.0.1:{program.port}"
            assert program.urls == [f"{root}/profiles/{name}" for name in servers]
            until(lambda: all(program.ask(f"/profiles/{name}{LISTING}").status == 200 for name in servers))
            assert len(listing(viewer, program.urls[0], TOKEN)) >= 60
            assert 20 <= len(listing(viewer, program.urls[1], TOKEN)) < 60
            log = tmp_path / ".local/state/envwatch/envwatch.log"
            sizes: list[set[int]] = [set(), set()]

            work, home = (Letta(api_key=TOKEN, base_url=url, max_retries=0) for url in program.urls)

            def has_polled() -> bool:
                for found, sdk in zip(sizes, (work, home), strict=True):
                    found.add(len(sdk.environments.list(limit="1000").connections))
                return all(log.read_text().count(f" {name}: poll: ") >= 3 for name in servers)

            with work, home:
                until(has_polled)
            assert min(sizes[0]) >= 60 > max(sizes[1])  # no profile ever served another profile's rows
            ended = run(upstream(viewer, root, TOKEN), "list")
            assert ended.returncode == Exit.UNREACHABLE
            assert b"/profiles/work or /profiles/home" in program.ask().body
            scraped = program.ask("/metrics").body
            assert all(f'envwatch_up{{profile="{name}"}} 1.0'.encode() in scraped for name in servers)


@pytest.mark.slow
def test_a_viewer_keeps_the_histories_of_two_profiles_of_one_server_apart(serve: ServeProgram, tmp_path: Path) -> None:
    viewer = tmp_path / "viewer"
    viewer.mkdir()
    folders = []
    for url in (serve.urls[0], f"{serve.urls[0]}/profiles/default"):
        ended = run(upstream(viewer, url, TOKEN), "watch", "--for", "4s", "--interval", "1s")
        assert ended.returncode == Exit.FINE, ended.stderr
        history = viewer / ".local/state/envwatch/history"
        folders.append({path.name for path in history.iterdir()})
    assert folders[0] < folders[1]
    assert {name.partition("@")[0] for name in folders[1]} == {"default"}
    assert run(upstream(viewer, url, TOKEN), "report", "--since", "1h").returncode == Exit.FINE


def test_it_serves_https(environ: dict[str, str], tmp_path: Path) -> None:
    with serve_program(environ, tmp_path, "--tls-cert", str(CERT)) as program:
        url = program.urls[0].replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        viewer = environment(tmp_path, LETTA_BASE_URL=url, LETTA_API_KEY=TOKEN, SSL_CERT_FILE=str(CERT))
        until(lambda: run(viewer, "list", "-o", "json").returncode == Exit.FINE)


def test_polls_go_on_while_viewers_flood(environ: dict[str, str], tmp_path: Path) -> None:
    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask().status == 200)
        log = tmp_path / ".local/state/envwatch/envwatch.log"
        polls = log.read_text().count(" info poll: ")
        idle = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(300)]
        request = f"GET {LISTING}?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        flooding = idle[:20]
        for connection in flooding:
            connection.setblocking(False)

        def has_polled() -> bool:
            for connection in flooding:
                try:
                    connection.send(request)
                    connection.recv(1 << 20)
                except BlockingIOError:
                    continue
                except OSError:  # the server cut the connection
                    pass
            return log.read_text().count(" info poll: ") >= polls + 3

        until(has_polled)
        assert program.ask().status == 200
        for connection in idle:
            connection.close()
        assert program.end() == Exit.TERMINATED
        text = log.read_text()
        assert "answered " in text
        assert TOKEN not in text
        assert KEY not in text
        assert os.stat(tmp_path / ".config/envwatch/serve-tokens").st_mode & 0o777 == 0o600  # noqa: PTH116
