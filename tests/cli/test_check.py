"""`envwatch check` in a monitoring system: exit codes, and always one line on standard output.

The transcripts have every status and every mistake; `tests/views/test_check_result.py` has the verdict.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import KEY, Faulty, How, Stop, Where, serving
from support.in_process import Ended
from support.pty_terminal import environment

from envwatch.cli.arguments import StopError, options_in
from envwatch.letta.poller import read_clocks
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, SILENCES

if TYPE_CHECKING:
    from support.in_process import Envwatch

ENVWATCH = (sys.executable, "-m", "envwatch")
NEGATE = shutil.which("negate", path="/usr/lib/nagios/plugins:/usr/lib/monitoring-plugins")

DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": read_clocks().wall - 3_600_000}


def rows(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    now = read_clocks().wall
    beating = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": now - 3_600_000}
    return [
        wire_row(f"env-{number}", connectionName=f"web-{number}", **(beating | change))
        for number, change in enumerate(changes, 1)
    ]


def first_line(ended: Ended) -> tuple[int, str]:
    """Return the exit code, and the first line without performance data."""
    return ended.code, ended.out.split("\n")[0].split(" | ")[0]


# In the test's process.


def test_a_wait_changes_no_file_and_so_no_decision_of_check(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows, folder = rows({}), envwatch.home / "envwatch"
    key = {"server": faulty.url.removeprefix("http://"), "id": "env-1"}
    folder.mkdir(exist_ok=True)
    (folder / "acknowledged.json").write_text(ACKNOWLEDGEMENTS.text({"env-1": {"at": 1.0, "note": "known", **key}}))

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = contents()
    assert envwatch("wait", "name:web-1", "--timeout", "9s") == (0, "web-1\n", "")
    assert contents() == before
    assert "no uptime record" in envwatch("check", ENVWATCH_ALERT="").out


def test_the_documented_wait_deploys_to_no_machine_whose_name_only_begins_alike(
    envwatch: Envwatch, faulty: Faulty
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "without-a-screen.md").read_text(encoding="utf-8")
    example = re.search(r"envwatch wait (web-1 \S+) --timeout .*&& \./deploy", page)
    assert example is not None
    faulty.rows = rows(DOWN, *[{}] * 9)
    assert faulty.rows[9]["connectionName"] == "web-10"

    for query in (example[1], "web-1 status:on", "WEB-1 status:on", "name:web-1 status:on"):
        assert envwatch("wait", *query.split(), "--timeout", "1s").code == 1, query
    assert envwatch("wait", "web-* status:on", "--count", "9", "--timeout", "9s").code == 0
    faulty.rows = faulty.rows[1:]
    assert envwatch("wait", "web-1", "--absent", "--timeout", "9s").code == 0


def test_a_silence_of_a_name_is_of_no_longer_name(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = rows(*[{}] * 10)
    assert "matches 1 of 10 machines now: web-1" in envwatch("silence", "name:web-1", "--for", "2h", "--yes").err


def test_a_silence_of_nothing_is_refused_with_the_wider_filter(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = rows(*[{}] * 10)
    ended = envwatch("silence", "name:web", "--for", "2h")
    assert (ended.code, "; name:*web* finds 10" in ended.err) == (2, True)
    assert json.loads(envwatch("silence", "list", "-o", "json").out) == []


def test_acknowledgements_silences_and_the_policy_count(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = rows(DOWN, DOWN, {}, DOWN)
    assert envwatch("silence", "web-1 profile:default", "--for", "2h", "--yes").code == 0
    key = {"server": faulty.url.removeprefix("http://"), "id": "env-4"}
    ack = {"at": read_clocks().wall, "note": "known", "sign_at": DOWN["lastSeenAt"], **key}
    (envwatch.home / "envwatch" / "acknowledged.json").write_text(
        ACKNOWLEDGEMENTS.text({"env-4": ack}), encoding="utf-8"
    )
    envwatch.write_config('filter = "name:no-such"\nonline_only = true\nexpect = ["web-3"]\n')
    assert first_line(envwatch("check", ENVWATCH_ALERT="!name:web-2")) == (
        0,
        "ENVWATCH OK - none of 4 machines paging (1 acked, 1 silenced, 1 not paging)",
    )
    assert faulty.seen[-1].query == {"limit": "100"}, "filter and online_only are for the dashboard"
    envwatch.write_config("")
    for query, found in (("acked:yes", "env-4"), ("silenced:yes", "env-1"), ("acked:no silenced:no", "env-2 env-3")):
        listed_rows = json.loads(envwatch("list", "-o", "json", "--filter", query).out)["environments"]
        assert sorted(row["id"] for row in listed_rows) == found.split(), query
        assert f" of {len(found.split())} machine" in envwatch("check", "--filter", query).out, query
        waited = envwatch("wait", query, "--count", f"{len(found.split())}", "--timeout", "9s")
        assert (waited.code, len(waited.out.splitlines())) == (0, len(found.split())), query


def write_profiles(envwatch: Envwatch, /, **urls: str) -> str:
    parts = [f'[profiles.{name}]\nbase_url = "{url}"\napi_key_env = "K"\n' for name, url in urls.items()]
    envwatch.write_config("".join(parts))
    return ",".join(urls)


@pytest.mark.parametrize("is_silence", [False, True], ids=["acked", "silenced"])
def test_what_is_quiet_on_one_server_is_a_problem_on_another_with_the_same_id(
    envwatch: Envwatch, faulty: Faulty, monkeypatch: pytest.MonkeyPatch, *, is_silence: bool
) -> None:
    monkeypatch.setenv("K", KEY)
    monkeypatch.delenv("LETTA_BASE_URL")
    faulty.rows = rows(DOWN)
    server, now = faulty.url.removeprefix("http://"), read_clocks().wall
    state = envwatch.home / "envwatch"
    state.mkdir()
    if is_silence:
        silence = {"at": now, "until": now + 3_600_000, "environments": [[server, "env-1"]]}
        (state / "silences.json").write_text(SILENCES.text({"0": silence}), encoding="utf-8")
    else:
        ack = {"at": now, "note": "known", "server": server, "id": "env-1"}
        (state / "acknowledged.json").write_text(ACKNOWLEDGEMENTS.text({f"{server} env-1": ack}), encoding="utf-8")
    with serving(rows(DOWN)) as other:
        names = write_profiles(envwatch, home=faulty.url, work=faulty.url, away=other.url)
        counts = f"1 off, 2 {'silenced' if is_silence else 'acked'}"
        assert first_line(envwatch("check", "--profile", names)) == (
            2,
            f"ENVWATCH CRITICAL - 1 of 3 machines paging ({counts}): away: web-1",
        )
    assert envwatch("check", "--profile", write_profiles(envwatch, renamed=faulty.url)).code == 0


def test_the_age_of_a_served_listing_is_printed(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = rows(DOWN, {})
    faulty.break_every_page(lambda reply: replace(reply, headers={"Envwatch-Listing-Age": "600"}))
    assert "(1 off, data 10m" in envwatch("check").out
    assert "; the data is 10m" in envwatch("list").err


def test_another_command_keeps_its_exit_code_if_the_word_is_a_value() -> None:
    for arguments in (["list", "--profile", "check", "--interval", "never"], ["demo", "check"]):
        with pytest.raises(StopError) as stopped:
            options_in(arguments)
        assert stopped.value.code == 2


# As a program.


def checked(home: Path, url: str, *command: str, stdout: int | None = None) -> Ended:
    environ = environment(home, LETTA_API_KEY=KEY, LETTA_BASE_URL=url)
    done = programs.run(command or [*ENVWATCH, "check"], environ, folder=home, stdout=stdout)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_the_time_limit_holds_for_a_hanging_listing_and_for_an_endless_thread(tmp_path: Path) -> None:
    with serving([]) as server:
        server.break_page(0, Stop(Where.REQUEST, How.HANG))
        ended = checked(tmp_path, server.url, *ENVWATCH, "check", "--timeout", "1")
        assert ended == (3, "ENVWATCH UNKNOWN - no data within 1 s\n", "")
    script = (
        "import threading; from envwatch.cli.commands.check import time_limit\n"
        "with time_limit(0.05, lambda signal: 3):\n"
        "  threading.Thread(target=threading.Event().wait).start()\n"
        "  threading.Event().wait()"
    )
    assert checked(tmp_path, "", sys.executable, "-c", script) == (3, "", "")


def test_a_bug_of_the_check_is_unknown_too(tmp_path: Path) -> None:
    script = "import sys; sys.modules['asyncio'] = None; from envwatch.cli.main import main; sys.exit(main(['check']))"
    ended = checked(tmp_path, "http://127.0.0.1:1", sys.executable, "-c", script)
    assert ended[:2] == (3, "ENVWATCH UNKNOWN - the check itself failed: see standard error\n")
    assert "asyncio" in ended.err
    assert KEY not in ended.err


def test_an_output_without_space_is_an_exit_code_all_the_same(tmp_path: Path) -> None:
    with serving(rows({})) as server:
        with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
            assert checked(tmp_path, server.url, stdout=full.fileno()).code == 3
        closed = ("/bin/sh", "-c", 'exec "$0" -m envwatch check >&-', sys.executable)
        assert checked(tmp_path, server.url, *closed)[:2] == (3, "")


@pytest.mark.skipif(NEGATE is None, reason="monitoring-plugins-basic is not installed")
def test_negate_takes_status_and_output(tmp_path: Path) -> None:
    negate = (str(NEGATE), "--substitute", "--critical=WARNING", *ENVWATCH, "check")
    with serving(rows(DOWN, {})) as server:
        ended = checked(tmp_path, server.url, *negate)
    assert ended.code == 1
    assert ended.out.startswith("ENVWATCH WARNING - 1 of 2 machines paging (1 off): web-1 | paging=1;;0;0;2 ")
