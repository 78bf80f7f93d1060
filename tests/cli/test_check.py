"""`envwatch check` as a monitoring system runs it: exit codes, and always one line on standard output."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import KEY, Faulty, How, Stop, Where, faulty_server, says

from envwatch.cli.arguments import StopError, options_in
from envwatch.sources.poller import read_clocks
from envwatch.views.output.check_result import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVWATCH = (sys.executable, "-m", "envwatch")
NEGATE = shutil.which("negate", path="/usr/lib/nagios/plugins:/usr/lib/monitoring-plugins")


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out.split("\n")[0].split(" | ")[0]

    @property
    def failure(self) -> str:
        assert (self.code, self.err) == (3, "")
        assert self.out.startswith("ENVWATCH UNKNOWN - ")
        assert self.out.count("\n") == 1
        assert "|" not in self.out
        assert KEY not in self.out
        return self.out.removeprefix("ENVWATCH UNKNOWN - ").removesuffix("\n")


def environ_of(home: Path, url: str, **more: str) -> dict[str, str]:
    keep = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home),
        "ENVWATCH_ALERT": "id:*",
    }
    return keep | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": url} | more


async def checked(
    environ: Mapping[str, str], *arguments: str, command: tuple[str, ...] = (*ENVWATCH, "check")
) -> Ended:
    done = await asyncio.to_thread(programs.run, [*command, *arguments], environ, folder=environ["HOME"])
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    now = read_clocks().wall
    beating = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": now - 3_600_000}
    return [
        wire_row(f"env-{number}", connectionName=f"web-{number}", **(beating | change))
        for number, change in enumerate(changes, 1)
    ]


DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": read_clocks().wall - 3_600_000}


async def test_the_policy_acknowledgements_silences_and_the_inventory_count(tmp_path: Path) -> None:
    async with faulty_server(rows(DOWN, DOWN, {}, DOWN)) as server:
        environ = environ_of(tmp_path, server.url)
        del environ["ENVWATCH_ALERT"]
        silence = ("silence", "--filter", "name:web-1 profile:default", "--for", "2h")
        assert (await checked(environ, *silence, command=ENVWATCH)).code == 0
        key = {"server": server.url.removeprefix("http://"), "id": "env-4"}
        ack = {"at": read_clocks().wall, "note": "known", "sign_at": DOWN["lastSeenAt"], **key}
        (tmp_path / "envwatch" / "acknowledged.json").write_text(json.dumps({"env-4": ack}), encoding="utf-8")
        config, expect = tmp_path / "config.toml", tmp_path / "expect.txt"
        config.write_text(
            'alert = "!name:web-2"\nfilter = "name:no-such"\nonline_only = true\nexpect = ["web-3"]\n', encoding="utf-8"
        )
        ended = await checked(environ, "--config", str(config))
        assert (ended.code, ended.text) == (
            0,
            "ENVWATCH OK - no problem in 4 environments (1 acked, 1 silenced, 1 not alerting)",
        )
        assert server.seen[-1].query == {"limit": "100"}
        table = (await checked(environ, "list", "--config", str(config), command=ENVWATCH)).out
        cells = [re.split("  +", line) for line in table.splitlines()[1:]]
        whys = {name: why for _, _, name, why, *_ in cells}
        assert {name: re.sub(" until [0-9:]+$", "", why) for name, why in whys.items()} == {
            "web-1": "disconnected · silenced",
            "web-2": "disconnected",
            "web-3": "–",
            "web-4": "disconnected · acked: known",
        }
        expect.write_text("build-1 # new\nweb-3\n", encoding="utf-8")
        ended = await checked(environ, "--config", str(config), "--expect", expect.name)
        counts = "1 missing, 1 acked, 1 silenced, 1 not alerting"
        assert (ended.code, ended.text) == (2, f"ENVWATCH CRITICAL - 1 problem in 5 environments ({counts}): build-1")
        expect.write_bytes(b"build-1\n\xff\n")
        ended = await checked(environ, "--expect", expect.name)
        assert ended.failure == f"{expect.name}:2: is not UTF-8"
        assert "expect_file cannot be read" in (await checked(environ, "--expect", "no-such")).failure


async def test_how_old_a_served_listing_is_stands_where_people_look(tmp_path: Path) -> None:
    async with faulty_server(rows(DOWN, {})) as server:
        server.break_every_page(lambda reply: replace(reply, headers={"Envwatch-Listing-Age": "600"}))
        environ = environ_of(tmp_path, server.url)
        ended = await checked(environ)
        assert re.match(
            r"ENVWATCH CRITICAL - 1 problem in 2 environments \(1 offline, listing 10m( \d+s)? old\)", ended.out
        )
        ended = await checked(environ, "list", command=ENVWATCH)
        assert re.search(r"2 environments at .*; the listing is 10m( \d+s)? old", ended.err)


async def test_what_a_served_host_says_has_its_address_once(tmp_path: Path) -> None:
    async with faulty_server(rows({})) as server:
        words = {"error": "envwatch serve has no listing yet", "errorCode": "envwatch_waiting", "retryable": True}
        server.break_every_page(says(503, json.dumps(words)))
        host = server.url.removeprefix("http://")
        ended = await checked(environ_of(tmp_path, server.url))
        assert ended.failure == f"server unavailable: {host}: envwatch serve has no listing yet"


async def test_times_in_another_unit_are_unknown_where_the_rows_could_decide(tmp_path: Path) -> None:
    async with faulty_server([]) as server:
        environ = environ_of(tmp_path, server.url)
        down = {"connectionId": None, "lastHeartbeat": None}
        for factor in (0.001, 1000):
            moment = read_clocks().wall * factor
            instants = dict.fromkeys(("lastSeenAt", "firstSeenAt", "connectedAt"), moment)
            server.rows = rows({}, *[{**instants, "lastHeartbeat": moment}] * 10, *[{**instants, **down}] * 10)
            ended = await checked(environ)
            assert (ended.code, ended.text) == (3, "ENVWATCH UNKNOWN - no problem in 21 environments (20 unknown)")
            assert ended.out.splitlines()[1:] == [
                "unknown: 10 rows whose heartbeat's time cannot be true",
                "unknown: 10 rows offline since a time that cannot be true",
            ]
            assert (await checked(environ, "-c", "19")).code == 3
            assert (await checked(environ, "-c", "20")).code == 0


def write_profiles(folder: Path, /, **urls: str) -> str:
    config = folder / "config.toml"
    parts = [f'[profiles.{name}]\nbase_url = "{url}"\napi_key_env = "K"\n' for name, url in urls.items()]
    config.write_text("".join(parts), encoding="utf-8")
    return str(config)


async def test_what_is_acknowledged_or_silenced_on_one_server_is_a_problem_on_another_with_the_same_id(
    tmp_path: Path,
) -> None:
    state, environ = tmp_path / "envwatch", environ_of(tmp_path, "", K=KEY)
    state.mkdir()
    async with faulty_server(rows(DOWN)) as one, faulty_server(rows(DOWN)) as other:
        server = one.url.removeprefix("http://")
        ack = {"at": read_clocks().wall, "note": "known"}
        silence = {"at": ack["at"], "until": read_clocks().wall + 3_600_000, "environments": ["env-1"]}
        quiet_on_one: dict[str, dict[str, Any]] = {
            "acknowledged.json": {f"{server} env-1": {**ack, "server": server, "id": "env-1"}},
            "silences.json": {"0": {**silence, "servers": [server]}},
        }
        for name, on_one in quiet_on_one.items():
            word = "acked" if name == "acknowledged.json" else "silenced"
            (state / name).write_text(json.dumps(on_one), encoding="utf-8")
            config = write_profiles(tmp_path, home=one.url, work=one.url, away=other.url)
            ended = await checked(environ, "--config", config, "--profile", "home,work,away")
            text = f"CRITICAL - 1 problem in 3 environments (1 offline, 2 {word}): away: web-1"
            assert (ended.code, ended.text) == (2, f"ENVWATCH {text}")
            config = write_profiles(tmp_path, renamed=one.url)
            assert (await checked(environ, "--config", config, "--profile", "renamed")).code == 0
            (state / name).unlink()


async def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    assert "…" in (await checked(environ_of(tmp_path, ""), KEY)).failure


async def test_other_commands_keep_their_exit_code_where_the_word_is_a_value() -> None:
    for arguments in (["list", "--profile", "check", "--interval", "never"], ["demo", "check"]):
        with pytest.raises(StopError) as stopped:
            options_in(arguments)
        assert stopped.value.code == 2


async def test_the_time_limit_is_for_all_of_it(tmp_path: Path) -> None:
    async with faulty_server(rows({})) as server:
        server.break_page(0, Stop(Where.REQUEST, How.HANG))
        ended = await checked(environ_of(tmp_path, server.url), "--timeout", "1")
        assert ended.failure == "no listing within 1 s"


async def test_a_lookup_that_nothing_can_end_does_not_outlast_the_limit(tmp_path: Path) -> None:
    script = (
        "import threading; from envwatch.cli.commands.check import time_limit\n"
        "with time_limit(0.05, lambda signal: 3):\n"
        "  threading.Thread(target=threading.Event().wait).start()\n"
        "  threading.Event().wait()"
    )
    assert await checked(environ_of(tmp_path, ""), command=(sys.executable, "-c", script)) == (3, "", "")


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")], ids=["TERM", "INT"]
)
async def test_a_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals, word: str) -> None:
    async with faulty_server(rows({})) as server:
        server.break_page(0, Stop(Where.REQUEST, How.HANG))
        with programs.piped([*ENVWATCH, "check"], environ_of(tmp_path, server.url)) as (process, out, err):
            await _requested(server)
            process.send_signal(number)
            code = await asyncio.to_thread(process.wait, programs.TIMEOUT_S)
            ended = Ended(code, out.read().decode(), err.read().decode())
        assert ended.failure == f"{word} before there was a listing"


async def _requested(server: Faulty) -> None:
    async with asyncio.timeout(60):
        while not server.seen:
            await server.settled(1)
            await asyncio.sleep(0)


async def test_an_error_of_its_own_is_unknown_too(tmp_path: Path) -> None:
    script = "import sys; sys.modules['asyncio'] = None; from envwatch.cli.main import main; sys.exit(main(['check']))"
    ended = await checked(environ_of(tmp_path, "http://127.0.0.1:1"), command=(sys.executable, "-c", script))
    assert (ended.code, ended.out) == (3, "ENVWATCH UNKNOWN - the check itself failed: see standard error\n")
    assert "asyncio" in ended.err
    assert KEY not in ended.err


async def test_an_output_that_cannot_be_written_is_an_exit_code_all_the_same(tmp_path: Path) -> None:
    async with faulty_server(rows({})) as server:
        environ = environ_of(tmp_path, server.url)
        with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
            done = await asyncio.to_thread(programs.run, [*ENVWATCH, "check"], environ, stdout=full.fileno())
        assert done.returncode == 3
        command = ("/bin/sh", "-c", 'exec "$0" -m envwatch check >&-', sys.executable)
        assert (await checked(environ, command=command))[:2] == (3, "")


async def test_it_needs_no_terminal_library(tmp_path: Path) -> None:
    script = (
        "import sys; from envwatch.cli.main import main; code = main(['check', '--filter', '!name:x']);"
        "sys.exit(str(code) + str(sorted({'textual', 'rich', 'pygments', 'humanize', 'click'} & set(sys.modules))))"
    )
    async with faulty_server(rows({})) as server:
        ended = await checked(environ_of(tmp_path, server.url), command=(sys.executable, "-c", script))
        assert ended.err == "0[]\n"


def test_the_option_names_what_can_be_counted() -> None:
    assert options_in(["check"]).of == Metric.PROBLEMS
    assert {options_in(["check", "--of", kind]).of for kind in Metric} == set(Metric)


@pytest.mark.skipif(NEGATE is None, reason="monitoring-plugins-basic is not installed")
async def test_a_plugin_that_runs_plugins_takes_status_and_output(tmp_path: Path) -> None:
    async with faulty_server(rows(DOWN, {})) as server:
        environ = environ_of(tmp_path, server.url)
        negate = (str(NEGATE), "--substitute", "--critical=WARNING", *ENVWATCH, "check")
        ended = await checked(environ, command=negate)
        assert ended.code == 1
        assert ended.out.startswith(
            "ENVWATCH WARNING - 1 problem in 2 environments (1 offline): web-1 | problems=1;;0;0;2 "
        )
        ended = await checked(environ, "-c", "1", command=(str(NEGATE), *ENVWATCH, "check"))
        assert (ended.code, ended.text.split(" - ")[0]) == (2, "ENVWATCH OK")
        assert (await checked(environ, "-c", "x", command=(str(NEGATE), *ENVWATCH, "check"))).code == 3
