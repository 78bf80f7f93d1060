"""`envwatch serve` as users run it: the real program between a real server and real viewers.

The transcripts have the refusals, `tests/serve` the answers, `test_serving.py` the work next to the polls.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from letta_client import AuthenticationError, InternalServerError, Letta, NotFoundError
from support.demo_client import Client
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

from envwatch.cli.arguments import Exit, options_in
from envwatch.cli.bootstrap import profiles_for
from envwatch.cli.serving import plan_from
from envwatch.demo.server import Server
from envwatch.model.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.in_process import Envwatch

OTHER = "token-of-ben-0123456789"
CERT = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"
AGES = {"heartbeat_age_s", "reason", "last_heartbeat_at", "last_seen_at"}
DECISION = {"pages", "pages_by", "why", "up7d", "unknown"}
"""The decision of the serving host, which is an unknown field of a served row."""


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with demo_server() as server:
        yield server


@pytest.fixture
def environ(demo: Server, tmp_path: Path) -> dict[str, str]:
    return environ_with_tokens(demo, tmp_path)


# Refusals and tokens, in the test's process.


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--bind", "[::]:0"), "--bind [::]:0 is open to other machines, and needs --tls-cert: plain http would show"),
        (("--bind", "0.0.0.0:0", "--tls-cert", "none.pem"), "none.pem cannot be used for TLS: No such file or dir"),
        ((), "the file of tokens {tokens} can be read by others: `chmod 600 {tokens}`"),
    ],
)
def test_an_open_address_without_tls_and_a_readable_file_of_tokens_are_refused(
    envwatch: Envwatch, arguments: tuple[str, ...], reason: str
) -> None:
    envwatch.connect("http://127.0.0.1:9")
    tokens = tokens_file(envwatch.home, mode=0o640 if not arguments else 0o600)
    place = (envwatch.home / "envwatch").resolve()
    place.mkdir()
    tokens = tokens.rename(place / "serve-tokens")
    ended = envwatch("serve", *arguments)
    assert ended.code == Exit.USAGE
    assert ended.line.startswith(reason.format(tokens=tokens))


def test_tokens_are_removed_from_every_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = secrets.token_hex(20)
    tokens_file(tmp_path, f"ann {token}\n")
    for name, value in upstream(tmp_path, "http://127.0.0.1:9", KEY).items():
        monkeypatch.setenv(name, value)
    options = options_in(["serve", "--bind", "127.0.0.1:0"])
    with closing(plan_from(profiles_for(options), options)):
        assert token[:8] not in redactor()(f"it is {token}")


# One program for several viewers.


@pytest.fixture(scope="module")
def served(demo: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProgram]:
    """Serve with hooks; the dashboard of the profile hides rows that are off."""
    home = tmp_path_factory.mktemp("served")
    environ = environ_with_tokens(demo, home)
    config = home / ".config" / "envwatch" / "config.toml"
    config.write_text("""
online_only = true
hooks = [
    {name = "page", command = ["true"]},
    {name = "chat", url_env = "UNSET"},
    {name = "mail", comand = ["true"]},
]
""")
    with serve_program(environ, home, "--hooks") as program:
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


def test_each_hook_without_use_is_named_in_one_line(served: ServeProgram) -> None:
    named = [line for line in served.said.splitlines() if line.endswith(" (this hook sends nothing)")]
    for line, what in zip(named, ("hooks.comand is no", "hooks needs what", "hook chat: UNSET is not"), strict=True):
        assert what in line


def test_a_viewer_sees_all_rows_with_the_states_of_upstream(demo: Server, served: ServeProgram, tmp_path: Path) -> None:
    assert served.urls == [f"http://127.0.0.1:{served.port}"]

    def is_same() -> bool:
        # The fleet goes on meanwhile: rows that changed between the first and the last look are not compared.
        upstreams = listing(tmp_path, demo.base_url, KEY)
        rows = listing(tmp_path, served.urls[0], TOKEN)
        return upstreams == rows and len(rows) >= 60

    until(is_same)
    online = served.ask("/v1/environments?limit=200&onlineOnly=true").json["connections"]
    assert 0 < len(online) < 60


def test_the_official_sdk_lists_and_retrieves(served: ServeProgram) -> None:
    with Letta(api_key=TOKEN, base_url=served.urls[0], max_retries=0) as sdk:
        page = sdk.environments.list(limit="40")
        assert len(page.connections) == 40
        assert page.has_next_page
        row = page.connections[0]
        assert sdk.environments.retrieve(str(row.device_id)).device_id == row.device_id
        with pytest.raises(NotFoundError):
            sdk.environments.retrieve("no-such-device")
    with Letta(api_key=KEY, base_url=served.urls[0], max_retries=0) as sdk, pytest.raises(AuthenticationError):
        sdk.environments.list()


def test_metrics_are_for_tokens_and_say_of_each_hook_whether_the_hook_fails(served: ServeProgram) -> None:
    assert served.ask("/metrics", None).status == 401
    scraped = served.ask("/metrics").body
    assert b'envwatch_up{profile="default"} 1.0' in scraped
    assert b'envwatch_hook_failing{hook="page"} 0.0' in scraped
    assert TOKEN.encode() not in scraped


def test_a_second_program_on_the_same_port_ends_with_one_line(served: ServeProgram, environ: dict[str, str]) -> None:
    ended = run(environ, "serve", "--bind", f"127.0.0.1:{served.port}")
    assert (ended.returncode, ended.stdout) == (Exit.FAILED, b"")
    reason = f"127.0.0.1:{served.port} is in use, maybe by another `envwatch serve`; --bind takes another"
    assert ended.stderr.decode() == f"envwatch: {reason}\n"
    assert served.ask().status == 200


# Programs of their own.


def test_changed_tokens_are_taken_without_a_restart_and_a_signal_ends_the_program_gracefully(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask().status == 200)
        assert program.ask(token=OTHER).status == 401
        path = tokens_file(tmp_path, f"ben {OTHER}\n")
        made = run(environment(tmp_path), "serve", "--new-token", "cal")
        token = made.stdout.decode().strip()
        assert token not in made.stderr.decode()
        until(lambda: [program.ask(token=each).status for each in (OTHER, token)] == [200, 200])
        assert program.ask().status in {401, 429}
        path.chmod(0o644)
        until(lambda: "the tokens stay as they were" in program.said)
        assert "can be read by others: `chmod 600 " in program.said
        assert program.ask(token=OTHER).status == 200
        with Client(program.urls[0], OTHER) as viewer:
            assert viewer.ask(LISTING).status == 200
            program.process.send_signal(signal.SIGTERM)
            while (stopping := viewer.ask(LISTING)).status == 200:
                pass  # no pause: the notice is visible only briefly
            assert (stopping.status, stopping.json["errorCode"]) == (503, "envwatch_stopping")
            assert int(stopping.headers["Retry-After"]) >= 1
            assert program.process.wait(TIMEOUT_S) == Exit.TERMINATED
        with pytest.raises(ConnectionRefusedError):
            program.ask()
        assert program.said.count("\n") == 2, program.said


def test_systemd_is_notified_of_the_start_each_listing_and_the_end(environ: dict[str, str], tmp_path: Path) -> None:
    """Viewers of a profile with a setting `source` see only such rows, and the start says so."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT_S)
        environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000", "ENVWATCH_SOURCE": "local"}
        with serve_program(environ, tmp_path) as program:
            assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
            rows = program.ask("/v1/environments?limit=200").json["connections"]
            assert {row["organizationId"] for row in rows} == {"local"}
            assert "envwatch: viewers of profile default see only source = local\n" in program.said
            assert program.end() == Exit.TERMINATED
        messages = [manager.recv(100)]
        while messages[-1] != b"STOPPING=1":
            messages.append(manager.recv(100))
        assert set(messages[:-1]) <= {b"WATCHDOG=1"}


def test_before_the_first_listing_viewers_read_why_there_is_none(demo: Server, tmp_path: Path) -> None:
    tokens_file(tmp_path)
    key = "wrong-key-0123456789"
    with serve_program(upstream(tmp_path, demo.base_url, key), tmp_path) as program:
        until(lambda: "Is the key from LETTA_API_KEY right" in program.ask().json.get("error", ""))
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


def test_several_profiles_have_a_base_url_each(demo: Server, tmp_path: Path) -> None:
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
            log = tmp_path / ".local/state/envwatch/envwatch.log"
            sizes: list[set[int]] = [set(), set()]

            work, home = (Letta(api_key=TOKEN, base_url=url, max_retries=0) for url in program.urls)

            def has_polled() -> bool:
                for found, sdk in zip(sizes, (work, home), strict=True):
                    found.add(len(sdk.environments.list(limit="1000").connections))
                return all(log.read_text().count(f" {name}: poll: ") >= 3 for name in servers)

            with work, home:
                until(has_polled)
            assert min(sizes[0]) >= 60 > max(sizes[1]) >= 20  # no profile ever served another profile's rows
            assert run(upstream(viewer, root, TOKEN), "list").returncode == Exit.UNREACHABLE
            assert b"/profiles/work or /profiles/home" in program.ask().body
            scraped = program.ask("/metrics").body
            assert all(f'envwatch_up{{profile="{name}"}} 1.0'.encode() in scraped for name in servers)


@pytest.mark.slow
def test_a_viewer_keeps_the_histories_of_two_profiles_of_one_server_apart(served: ServeProgram, tmp_path: Path) -> None:
    folders = []
    for url in (served.urls[0], f"{served.urls[0]}/profiles/default"):
        ended = run(upstream(tmp_path, url, TOKEN), "watch", "--for", "4s", "--interval", "1s")
        assert ended.returncode == Exit.FINE, ended.stderr
        history = tmp_path / ".local/state/envwatch/history"
        folders.append({path.name for path in history.iterdir()})
    assert folders[0] < folders[1]
    assert {name.partition("@")[0] for name in folders[1]} == {"default"}
    assert run(upstream(tmp_path, url, TOKEN), "report", "--since", "1h").returncode == Exit.FINE


def test_a_viewer_reads_over_https_and_an_interrupt_ends_the_program_without_a_word(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with serve_program(environ, tmp_path, "--tls-cert", str(CERT)) as program:
        url = program.urls[0].replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        viewer = environment(tmp_path, LETTA_BASE_URL=url, LETTA_API_KEY=TOKEN, SSL_CERT_FILE=str(CERT))
        until(lambda: run(viewer, "list", "-o", "json").returncode == Exit.FINE)
        assert program.end(signal.SIGINT) == Exit.INTERRUPTED
        assert program.said.count("\n") == 1, program.said


@pytest.mark.slow
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


# Acknowledgements outlive a kill.

ACKS = "/v1/envwatch/acks"


def longest_lost(program: ServeProgram) -> dict[str, Any]:
    """Return the part of a request for the environment that has been off for the longest time."""
    until(lambda: program.ask().status == 200)
    rows = program.ask(f"{LISTING}?limit=1000").json["connections"]
    signs = {
        row["id"]: max(row["lastSeenAt"], row.get("lastHeartbeat") or 0) for row in rows if not row["connectionId"]
    }
    id_ = min(signs, key=lambda each: signs[each])
    return {"id": id_, "sign_at": signs[id_]}


def mark(program: ServeProgram, id_: str) -> Any:
    until(lambda: program.ask().status == 200)
    rows = program.ask(f"{LISTING}?limit=1000").json["connections"]
    return next(row["envwatch"].get("ack") for row in rows if row["id"] == id_)


def test_an_acknowledgement_and_its_end_outlive_a_kill_right_after_the_answer(
    environ: dict[str, str], tmp_path: Path
) -> None:
    tokens_file(tmp_path, f"ann {TOKEN} ack\nben {OTHER} ack\n")
    path = f"{ACKS}/{uuid4()}"
    with serve_program(environ, tmp_path) as program:
        row = longest_lost(program)
        body = json.dumps({"rows": [row], "note": "disk swap", "for_s": 3_600}).encode()
        answer = program.ask(path, TOKEN, "PUT", body)
        program.process.kill()
        assert [each["result"] for each in answer.json["rows"]] == ["acked"]

    with serve_program(environ, tmp_path) as program:
        found = mark(program, row["id"])
        assert (found["by"], found["note"], found["uuid"]) == ("ann", "disk swap", path.rpartition("/")[2])
        assert found["until"] - found["at"] == 3_600_000
        assert program.ask(path, TOKEN, "PUT", body).json == answer.json
        assert program.ask(path, OTHER, "DELETE").status == 200
        program.process.kill()

    with serve_program(environ, tmp_path) as program:
        assert mark(program, row["id"]) is None
        assert program.ask(path, OTHER, "DELETE").status == 200
        assert program.ask(path, TOKEN, "PUT", body).json == answer.json
        assert mark(program, row["id"]) is None
