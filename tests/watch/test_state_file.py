"""State files: what is remembered, acknowledgements, the alert state, silences.

Concurrent instances lose no changes, and neither damage, a kill nor a full disk stops the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import programs
from support.app_harness import Stage, staged
from support.builders import beating, key_of
from support.load import at_most
from support.pty_terminal import ENTER, Terminal, environment

from envwatch.alerts.silences import Silence, silence_of_environments, silence_of_query, silences_content, silences_of
from envwatch.alerts.uptime_record import UptimeRecord, uptime_content
from envwatch.demo.server import Server
from envwatch.fleet.uptime import Uptime
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.redactor import redactor
from envwatch.model.text import clean
from envwatch.stored.entries import text_of_content
from envwatch.views.events.matching import compile_matcher, matcher_or_none
from envwatch.watch.state_file import (
    ACKNOWLEDGEMENTS,
    ALERT_STATE,
    MOST_ACKS,
    MOST_FILTERS,
    MOST_SILENCES,
    REMEMBERED,
    SILENCES,
    UPTIME,
    ChangedFile,
    StateFile,
    acknowledged,
    merge,
    remembered,
    remembered_filters,
    silences_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.alerts.acknowledgements import ServerKey


KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


def finish(file: StateFile) -> None:
    file.close()
    for thread in threading.enumerate():
        if thread.name == "state file":
            thread.join(60)


def kept(path: Path, *changes: dict[str, Any]) -> list[str]:
    notes: list[str] = []
    memory = StateFile(REMEMBERED, path, notes.append)
    for change in changes:
        memory.keep(**change)
    finish(memory)
    return notes


def acks(count: int, first: int = 1) -> dict[ServerKey, Ack | None]:
    """Return acknowledgements of `env-1`, `env-2`, …, each newer than the previous."""
    return {key_of(f"env-{n}"): Ack(float(n), clean(f"note {n}")) for n in range(first, first + count)}


def run_at_once(home: Path, script: str, path: Path, names: Sequence[str]) -> None:
    program = home / "program.py"
    program.write_text(script)
    with open(os.devnull, "r+b") as null, (home / "errors").open("wb") as errors:  # noqa: PTH123 - a device
        streams = (null.fileno(), null.fileno(), errors.fileno())
        command = [sys.executable, str(program), str(path)]
        running = [programs.start([*command, name], environment(home), streams) for name in names]
    assert [process.wait(60) for process in running] == [0] * len(names), (home / "errors").read_text()


def test_a_change_is_remembered_and_none_forgets(tmp_path: Path) -> None:
    """Nothing is written before a change. Values of a newer envwatch stay; the rest of a killed run is replaced."""
    path = tmp_path / "deep" / "state.json"
    assert remembered(path) == {}
    assert kept(path) == []
    assert list(tmp_path.iterdir()) == []
    assert kept(path, {"theme": "nord"}, {"columns": ("name", "mode")}, {"theme": "envwatch-light"}) == []
    assert remembered(path) == {"theme": "envwatch-light", "columns": ("name", "mode")}
    kept(path, {"columns": None, "bell": False})
    assert remembered(path) == {"theme": "envwatch-light", "bell": False}
    assert REMEMBERED.read(path).content == {"theme": "envwatch-light", "bell": False}
    path.write_text('{"theme": "nord", "panes": {"detail": 5}}\n{}\n')
    (path.parent / "state.json.new").write_text("half a fi")
    assert kept(path, {"sort": "mode", "bell": True}) == []
    assert REMEMBERED.read(path).content == {"theme": "nord", "panes": {"detail": 5}, "sort": "mode", "bell": True}
    assert [each.name for each in sorted(path.parent.iterdir())] == ["state.json", "state.json.lock"]


def test_the_last_hundred_filters_are_kept_in_the_order_of_their_last_use(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert remembered_filters(path) == []
    kept(path, *({"filter": f"name:{n}"} for n in range(MOST_FILTERS + 1)), {"filter": "name:7"}, {"theme": "nord"})
    filters = remembered_filters(path)
    assert len(filters) == MOST_FILTERS
    assert (filters[0], filters[-2:]) == ("name:1", [f"name:{MOST_FILTERS}", "name:7"])
    assert remembered(path) == {"theme": "nord"}
    path.write_text('{"filters": ["name:a", 7, "", "name:b\\u001b"]}\n')
    assert remembered_filters(path) == ["name:a"]


def test_filters_of_two_processes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first, second = (StateFile(REMEMBERED, path, pytest.fail) for _ in range(2))
    for file, text in ((first, "name:a"), (second, "name:b")):
        with closing(file):
            file.keep(filter=text)
    assert remembered_filters(path) == ["name:a", "name:b"]


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("name:sk-let-abc", False),
        ("sk-1", False),
        ('name:"qzwxvkjyq0q1w2z3x4v5"', False),
        ("name:qzwxvkjyq0q1w2z3x4v", True),
        ("mode:plan name:*qzwxvkjyq0q1w2z3x4v5*", False),
        ("name:sandbox-agent-6c039c3e60ab4f", True),
        ("id:30f9c3a1-6c03-4c3e-860a-b4f00d15ea5e", True),
        ("user:zq-learned-vx", False),
        ("x" * 200, True),
        ("x" * 201, False),
        ("name:a\x1b[0m", False),
    ],
)
def test_a_filter_that_may_be_a_secret_is_not_kept(tmp_path: Path, text: str, *, is_kept: bool) -> None:
    redactor.cache_clear()  # other tests taught other secrets
    redactor().learn("zq-learned-vx")
    kept(tmp_path / "state.json", {"filter": text})
    assert remembered_filters(tmp_path / "state.json") == ([text] if is_kept else [])


@pytest.fixture(params=[0o000, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_file_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    kept(tmp_path / "deep" / "s", {"theme": "nord"}, {"theme": "dracula"})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"deep": 0o700, "s": 0o600, "s.lock": 0o600}
    assert remembered(tmp_path / "deep" / "s")["theme"] == "dracula"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" + b"0" * 5_000,
        b'{"theme": 5, "sort": [], "columns": "name"}',
        b'{"theme": "", "sort": "a\\nb", "columns": []}',
        b'{"theme": "\\u001b[31m", "sort": null, "columns": ["name", 5]}',
        json.dumps({"theme": "x" * 201, "columns": {"a": 1}}).encode(),
        b'{"bell": 1}',
        b'{"bell": "true"}',
    ],
)
def test_a_damaged_file_counts_as_empty_until_the_next_change(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s"
    is_whole = content.startswith(b'{"')
    content += b"\n{}\n" if is_whole else b""
    path.write_bytes(content)
    assert remembered(path) == {}
    aside = tmp_path / "s.aside"
    notes = [f"forgot how the screen looked: damaged ({path}, kept as s.aside)"]
    assert kept(path, {"theme": "nord"}, {"theme": "nord"}) == ([] if is_whole else notes)
    assert remembered(path)["theme"] == "nord"
    assert (aside.read_bytes() if aside.exists() else None) == (None if is_whole else content)


@pytest.mark.usefixtures("umask")
def test_the_newest_damaged_file_is_set_aside_as_a_private_file(tmp_path: Path) -> None:
    path, aside = tmp_path / "s", tmp_path / "s.aside"
    for content in ("{1", '{"theme": "no'):
        path.write_text(content)
        path.chmod(0o644)
        kept(path, {"sort": "mode"})
        assert (aside.read_text(), stat.S_IMODE(aside.stat().st_mode)) == (content, 0o600)
    assert REMEMBERED.read(path) == ({"sort": "mode"}, ())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "s.aside", "s.lock"]


def test_a_link_in_the_place_of_a_file_leads_to_no_change_outside(tmp_path: Path) -> None:
    outside = [tmp_path / "outside", tmp_path / "outside too"]
    for file in outside:
        file.write_text("{")
        file.chmod(0o644)
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "s").symlink_to(outside[0])
    (folder / "s.aside").symlink_to(outside[1])
    kept(folder / "s", {"sort": "mode"})
    assert (folder / "s.aside").readlink() == outside[0]
    assert REMEMBERED.read(folder / "s") == ({"sort": "mode"}, ())
    assert not (folder / "s").is_symlink()
    assert [(file.read_text(), stat.S_IMODE(file.stat().st_mode)) for file in outside] == [("{", 0o644)] * 2


def test_an_unreadable_or_irreplaceable_file_stays_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()  # which no user can read as a file
    assert kept(path, {"sort": "mode"}) == [
        f"forgot how the screen looked: Is a directory ({path})",
        f"cannot remember how the screen looked: Is a directory ({path})",
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "s.lock"]
    path.rmdir()
    path.write_text("{")
    (tmp_path / "s.new").mkdir()
    assert len(kept(path, {"sort": "mode"})) == 2
    assert path.read_text() == "{"
    assert not (tmp_path / "s.aside").exists()
    path.unlink()
    os.mkfifo(path)  # which does not block
    assert remembered(path) == {}


@given(
    content=st.binary(max_size=60) | st.recursive(st.text() | st.none(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_content_stops_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("memory") / "s"
    path.write_bytes(content)
    assert remembered(path) == {}


def test_an_unwritable_place_is_noted_once(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    path = tmp_path / "folder" / "s"
    notes = kept(path, {"theme": "nord"}, {"theme": "dracula"}, {"sort": "mode"})
    assert notes == [f"cannot remember how the screen looked: Not a directory ({path})"]
    assert remembered(path) == {}


def test_keeping_waits_for_no_lock_and_ending_not_for_long(tmp_path: Path) -> None:
    path = tmp_path / "s"
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, f"{path}.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        memory = StateFile(REMEMBERED, path, print)
        with at_most(3):
            with at_most(0.5):  # all thousand; one may take 50 ms
                for _ in range(1000):
                    memory.keep(theme="nord")
            memory.close()
        assert not path.exists()
        process.communicate()
    finish(memory)
    assert remembered(path)["theme"] == "nord"


def entry(id_: str, at: float, note: str) -> dict[str, object]:
    return {"at": at, "server": "", "id": id_} | ({"note": note} if note else {})


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(text_of_content(content))


def test_an_acknowledgement_is_remembered_until_its_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "acknowledged.json"
    assert acknowledged(path) == {}
    notes: list[str] = []
    book = StateFile(ACKNOWLEDGEMENTS, path, notes.append)
    book.keep(acks(3))
    book.keep({key_of("env-2"): None, key_of("env-3"): Ack(9.5, clean("")), key_of("env-4"): None})
    finish(book)
    assert notes == []
    assert ACKNOWLEDGEMENTS.read(path) == (
        {"env-3": entry("env-3", 9.5, ""), "env-1": entry("env-1", 1, "note 1")},
        (),
    )
    assert acknowledged(path) == {key_of("env-1"): Ack(1, clean("note 1")), key_of("env-3"): Ack(9.5, clean(""))}


def test_four_instances_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from envwatch.alerts.acknowledgements import Ack\n"
        "from envwatch.model.text import clean\n"
        "from envwatch.watch.state_file import ACKNOWLEDGEMENTS, REMEMBERED, merge\n"
        "folder, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(40):\n"
        "    ids = [('', f'{name}-{m}') for m in (n, n - 1)]\n"
        "    changes = {ids[0]: Ack(float(n), clean(ids[0][1]))} | ({ids[1]: None} if n % 2 else {})\n"
        "    merge(folder / 'acks', ACKNOWLEDGEMENTS, changes)\n"
        "    merge(folder / 'state', REMEMBERED, {name: f'{name}-{n}'})"
    )
    names = ("theme", "sort", "panes", "times")
    run_at_once(tmp_path, script, tmp_path, names)
    assert REMEMBERED.read(tmp_path / "state").content == {name: f"{name}-39" for name in names}
    assert acknowledged(tmp_path / "acks") == {
        key_of(f"{name}-{n}"): Ack(n, clean(f"{name}-{n}")) for name in names for n in range(1, 40, 2)
    }


@pytest.mark.slow
def test_of_more_than_ten_thousand_acknowledgements_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "a"
    merge(path, ACKNOWLEDGEMENTS, acks(MOST_ACKS, first=2))
    assert acknowledged(path) == acks(10_000, first=2)
    merge(path, ACKNOWLEDGEMENTS, acks(1, first=10_002))
    assert acknowledged(path) == acks(10_000, first=3)
    with pytest.raises(OSError, match="there are too many acknowledgements"):
        merge(path, ACKNOWLEDGEMENTS, acks(1))
    assert acknowledged(path) == acks(10_000, first=3)


@pytest.mark.parametrize(("sign", "count"), [("x", 4_000), ("\N{PILE OF POO}", 400)])
def test_ids_of_any_length_never_make_a_file_beyond_the_limit(tmp_path: Path, sign: str, count: int) -> None:
    path = tmp_path / "a"
    long = [(key_of(sign * 1020 + f"{n:04}"), Ack(float(n), clean(sign * 200))) for n in range(count)]
    for half in (long[: count // 2], long[count // 2 :]):
        merge(path, ACKNOWLEDGEMENTS, dict(half))
    left = acknowledged(path)
    room = ACKNOWLEDGEMENTS.limit - path.stat().st_size
    assert 0 <= room < path.stat().st_size / len(left) + len(left) * 8  # roughly: one more would not have fitted
    assert left == dict(long[-len(left) :])
    assert len(left) < count


def test_only_damaged_acknowledgements_are_lost_and_the_next_change_repairs_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one = entry("env-1", 1, "note 1") | {"mood": "hiro"}
    damaged = {"env-2": entry("env-2", 2, "") | {"at": "now"}, "env-4": {"at": 4, "note": "of no server"}}
    write(path, {"env-1": one, "env-\x1b": entry("env-\x1b", 3, "")} | damaged)
    assert acknowledged(path) == acks(1) | {key_of("env-\\x1b"): Ack(3, clean(""))}
    merge(path, ACKNOWLEDGEMENTS, {key_of("env-\\x1b"): None})
    assert ACKNOWLEDGEMENTS.read(path).content == {"env-1": one}


def test_unknown_parts_of_acknowledgements_stay_until_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    content = {f"env-{n}": entry(f"env-{n}", n, f"note {n}") | {"mood": "hiro"} for n in (1, 2, 3)}
    write(path, content | {"_v": 2})
    merge(path, ACKNOWLEDGEMENTS, acks(1, first=4) | acks(1, first=2) | {key_of("env-3"): None})
    assert ACKNOWLEDGEMENTS.read(path).content == {
        "env-1": content["env-1"],
        "env-2": entry("env-2", 2, "note 2"),
        "env-4": entry("env-4", 4, "note 4"),
        "_v": 2,
    }


def test_acknowledgements_of_one_id_on_two_servers_are_changed_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one, other = (clean("one.example"), clean("env-1")), (clean("other.example"), clean("env-1"))
    here = {"at": 2.0, "note": "here", "server": "one.example", "id": "env-1", "mood": "hiro"}
    write(path, {"one.example env-1": here, "_v": 2})
    merge(path, ACKNOWLEDGEMENTS, {other: Ack(3.0, clean("there"))})
    there = {"at": 3.0, "note": "there", "server": "other.example", "id": "env-1"}
    expected = {"one.example env-1": here, "other.example env-1": there, "_v": 2}
    assert ACKNOWLEDGEMENTS.read(path).content == expected
    merge(path, ACKNOWLEDGEMENTS, {one: None, other: None})
    assert ACKNOWLEDGEMENTS.read(path) == ({"_v": 2}, ())


def test_an_unknown_entry_beyond_the_limit_displaces_no_acknowledgement(tmp_path: Path) -> None:
    path = tmp_path / "a"
    large = "\N{PILE OF POO}" * 800_000  # written three times as long as the read limit
    lines: list[dict[str, Any]] = [{"_v": large}, {"env-1": entry("env-1", 1, "note 1")}, {}]
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    merge(path, ACKNOWLEDGEMENTS, acks(1, first=2))
    expected = {f"env-{n}": entry(f"env-{n}", n, f"note {n}") for n in (1, 2)}
    assert ACKNOWLEDGEMENTS.read(path).content == expected


NAMES = [*(each.name for each in fields(Ack)), "by"]
"""The names in an acknowledgement, and a name of a later version."""


@given(
    st.dictionaries(
        st.sampled_from(["env-1", "env-\x1b", "env-\\x1b", "env-2"]) | st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
        ),
    )
)
def test_whatever_stands_among_acknowledgements_the_next_one_is_kept(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("memory") / "a"
    write(path, content)
    before = dict(acknowledged(path))
    merge(path, ACKNOWLEDGEMENTS, acks(1))
    assert acknowledged(path) == before | acks(1)


async def test_the_app_keeps_columns_as_they_change_and_no_sorting() -> None:
    kept: list[dict[str, Any]] = []
    stage = Stage(theme="nord", sort="mode", filter="web", keep=lambda **changes: kept.append(changes))
    async with stage.app.run_test() as stage.pilot:
        await stage.pilot.pause()
        assert (stage.app.theme, str(stage.app.dashboard.view.query)) == ("nord", "web")
        assert stage.app.dashboard.view.sort == "mode"
        assert kept == []
        await stage.press("I", "2", "0", "full_stop")
        assert kept == []
        stage.app.dashboard.view = replace(stage.app.dashboard.view, columns=("name", "mode"))
        await stage.pilot.pause()
        assert kept == [{"columns": ("name", "mode")}]


async def test_a_notice_stands_for_ten_seconds_behind_answers_to_keys() -> None:
    notices: asyncio.Queue[str] = asyncio.Queue()
    notices.put_nowait("forgot \x1b")
    async with staged(notices=notices) as stage:
        await stage.show(beating(1))
        assert stage.news == r"forgot \x1b"
        await stage.tick(9)
        await stage.press("B")
        assert stage.news.startswith("bell on")
        await stage.tick(1)
        notices.put_nowait("cannot remember")
        await stage.pilot.pause()
        assert stage.news.startswith("bell on")
        await stage.tick(1.5)
        assert stage.news == "cannot remember"
        await stage.tick(8.4375)
        assert stage.news == "cannot remember"
        await stage.tick(0.0625)
        assert stage.news.startswith("nothing has changed since")


async def test_an_unknown_theme_is_replaced_by_the_default() -> None:
    stage = Stage(theme="of a plug-in")
    async with stage.app.run_test():
        assert stage.app.theme == "envwatch-dark"


def test_the_next_dashboard_looks_like_the_last_one(tmp_path: Path) -> None:
    with Server(12, key=KEY) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("chen-nas")
            terminal.press("o", "n", ENTER)
            terminal.wait_for("NAME▲")
            terminal.press(":", *"bell", ENTER)
            terminal.wait_for("bell on")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        state = tmp_path / ".local" / "state" / "envwatch" / "state.json"
        assert REMEMBERED.read(state).content == {"bell": True}
        # An older envwatch remembered the sorting.
        write(state, {"sort": "name", "columns": ["owner"], "theme": "envwatch-light"})
        with Terminal.of_envwatch(home=tmp_path, environ=environ | {"COLORTERM": "truecolor"}) as terminal:
            terminal.wait_for("BEAT NAME +KEY OWNER")
            assert "▲" not in terminal.text
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        assert b"48;2;255;255;255" in terminal.received


KILLED_AT_EVERY_STEP = """
import json, os, signal, sys
from pathlib import Path
from envwatch.watch.state_file import ALERT_STATE
from envwatch.watch.state_file import merge

path, step, steps = Path(sys.argv[1]), 0, 0

def count(event, _arguments):
    # Each step of a write that the system sees: opening, renaming and removing files.
    global steps
    if step and event in {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod"}:
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
old, new = ({"written_at": at, "failing": dict.fromkeys("abc", at)} for at in (1.0, 2.0))
while True:
    merge(path, ALERT_STATE, old)
    if (child := os.fork()) == 0:
        step, steps = int(os.environ["STEP"]), 0
        merge(path, ALERT_STATE, new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = ALERT_STATE.read(path)
    print(json.dumps([os.WIFSIGNALED(status), found == (old, ()), found == (new, ())]), flush=True)
    if not os.WIFSIGNALED(status):
        break
    os.environ["STEP"] = str(int(os.environ["STEP"]) + 1)
"""


def test_a_kill_at_any_step_of_a_write_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    environ = os.environ | {"STEP": "1"}
    done = programs.run([sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "work.json")], environ)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(steps) >= 4
    assert [was_killed for was_killed, _, _ in steps] == [True] * (len(steps) - 1) + [False]
    assert all(is_old or is_new for _, is_old, is_new in steps), "a state is neither the old nor the new one"
    assert steps[0][1:] == [True, False]
    assert steps[-1][1:] == [False, True]


@pytest.mark.parametrize(
    ("kind", "words", "change"),
    [
        (ALERT_STATE, "forgot which alerts wait or are open", {"written_at": 1.0, "looked_at": 1.0}),
        (ACKNOWLEDGEMENTS, "forgot which machines are acknowledged", {key_of("env-1"): Ack(1.0, clean(""))}),
    ],
)
def test_every_damaged_file_is_set_aside_and_begun_anew(
    kind: Any, words: str, change: dict[Any, Any], tmp_path: Path
) -> None:
    path, notes = tmp_path / "alerts" / "work.json", list[str]()
    path.parent.mkdir()
    path.write_text("{damaged")
    file = StateFile(kind, path, notes.append)
    file.keep(change)
    finish(file)
    assert len(kind.read(path).content) == len(change)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert notes == [f"{words}: damaged ({path}, kept as work.json.aside)"]
    assert (path.parent / "work.json.aside").read_text() == "{damaged"


def test_acknowledgements_of_another_form_are_set_aside_and_the_others_stay(tmp_path: Path) -> None:
    path, notes = tmp_path / "s", list[str]()
    known = {"server": "one.example", "id": "env-1", "at": 1.0, "note": "known"}
    content = text_of_content({"env-9": {"at": 1.0, "note": "names no server"}, "one.example env-1": known})
    path.write_text(content)
    file = StateFile(ACKNOWLEDGEMENTS, path, notes.append)
    file.keep({key_of("env-2"): Ack(2.0, clean(""))})
    finish(file)
    assert {id_ for _, id_ in acknowledged(path)} == {"env-1", "env-2"}
    assert (tmp_path / "s.aside").read_text() == content
    assert notes == [
        f"forgot in part which machines are acknowledged: cannot read env-9 ({path}, kept as s.aside)",
    ]


FAILS_ONCE = """
import sys
from pathlib import Path
from envwatch.watch.state_file import REMEMBERED, StateFile

path, failures = Path(sys.argv[1]), [OSError(5, "Input/output error")]

def fail(event, arguments):
    if event == "os.rename" and str(arguments[0]).endswith(".new") and failures:
        raise failures.pop()

sys.addaudithook(fail)
file = StateFile(REMEMBERED, path, lambda line: print(line, flush=True))
file.keep(theme="nord")
file.keep(theme="nord")
file.close()
"""


def test_a_damaged_file_is_in_its_place_after_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("{")
    done = programs.run([sys.executable, "-c", FAILS_ONCE, str(path)], environment(tmp_path))
    assert done.stdout.decode().splitlines() == [
        f"forgot how the screen looked: damaged ({path}, kept as s.aside)",
        f"cannot remember how the screen looked: Input/output error ({path})",
    ]
    assert (remembered(path), (tmp_path / "s.aside").read_text()) == ({"theme": "nord"}, "{")


def test_a_disk_that_fills_up_while_the_uptime_record_is_written_leaves_the_record_before(tmp_path: Path) -> None:
    path, (soft, hard) = tmp_path / "work.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    merge(path, UPTIME, uptime_content(UptimeRecord(5.0, {clean("web"): Uptime(4.0, 5.0, at=5.0)}, has_begun=True)))
    before = path.read_bytes()
    many = {clean(f"web-{number}"): Uptime(9.0, 9.0, at=9.0) for number in range(500)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            merge(path, UPTIME, uptime_content(UptimeRecord(9.0, many, has_begun=True)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["work.json", "work.json.lock"]


def test_a_part_of_a_state_replaces_this_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    merge(path, ALERT_STATE, {"looked_at": 1.0, "ledger": {"inc-1": {}}})
    merge(path, ALERT_STATE, {"ledger": {"inc-2": {}}})
    assert ALERT_STATE.read(path).content == {"looked_at": 1.0, "ledger": {"inc-2": {}}}


def test_a_function_is_called_after_the_changes_before_are_written(tmp_path: Path) -> None:
    path, found, is_called = tmp_path / "work.json", list[object](), threading.Event()

    def call() -> None:
        found.append(ALERT_STATE.read(path))
        is_called.set()

    file = StateFile(ALERT_STATE, path, print)
    file.keep({"looked_at": 1.0})
    file.call_when_written(call)
    assert is_called.wait(60)
    assert found == [({"looked_at": 1.0}, ())]
    file.close()


HOUR = timedelta(hours=1)


def made(query: str = "pod:p-7", at: float = 1.0, lasts: timedelta = HOUR) -> Silence:
    return silence_of_query(compile_matcher(query), WallMs(at), lasts, clean("disks"), clean("ada"))


def test_silences_of_two_instances_stand_in_the_file_and_each_reads_the_other_once(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    reader = ChangedFile(path, partial(silences_in, matcher_of=matcher_or_none))
    assert reader.changed() == {}
    assert reader.changed() is None
    one, other = made(), silence_of_environments([key_of("env-1")], WallMs(1), HOUR, clean(""), clean("bob"))
    merge(path, SILENCES, {one.id: one})
    merge(path, SILENCES, {other.id: other})
    assert reader.changed() == {one.id: one, other.id: other}
    assert reader.changed() is None
    ended = one.ended(WallMs(5), clean("bob"))
    merge(path, SILENCES, {ended.id: ended})
    assert reader.changed() == {one.id: one._replace(until=WallMs(5)), other.id: other}


@pytest.mark.parametrize(("at", "count"), [(25 * 3_600_000, 2), (25 * 3_600_000 + 1, 1)])
def test_a_silence_is_dropped_a_day_after_its_end(tmp_path: Path, at: float, count: int) -> None:
    path, one, new = tmp_path / "silences.json", made(), made("web", at)
    merge(path, SILENCES, {one.id: one})
    merge(path, SILENCES, {new.id: new})
    assert len(silences_in(path, matcher_or_none)) == count


def test_silences_of_an_unknown_query_are_not_used_and_stay_unlike_damaged_silences(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    unknown = {"a": {"matcher": "newfield:x", "at": 1, "until": 9e12}, "b": 5}
    write(path, unknown | {"c": {"matcher": "x", "at": "?", "until": 1}})
    assert silences_in(path, matcher_or_none) == {}
    one = made()
    assert merge(path, SILENCES, {one.id: one}) == path.with_name("silences.json.aside")
    assert SILENCES.read(path).content.items() == (unknown | silences_content({one.id: one})).items()
    assert silences_in(path, matcher_or_none) == {one.id: one}


def test_a_silence_beyond_the_most_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    many = {each.id: each for each in (made(f"x{number}") for number in range(MOST_SILENCES))}
    merge(path, SILENCES, many)
    before, more = path.read_bytes(), made("more")
    with pytest.raises(OSError, match="too many silences"):
        merge(path, SILENCES, {more.id: more})
    assert path.read_bytes() == before
    first = next(iter(many.values())).ended(WallMs(1), clean(""))
    merge(path, SILENCES, {first.id: first})
    assert len(silences_in(path, matcher_or_none)) == MOST_SILENCES
    merge(path, SILENCES, {more.id: more})
    assert first.id not in silences_in(path, matcher_or_none)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.none() | st.booleans() | st.floats() | TEXTS | st.lists(TEXTS, max_size=3)
OF_ROWS = silence_of_environments([key_of("env-1")], WallMs(1), HOUR, clean(""), clean(""))
NAMES_OF_SILENCES = sorted({name for each in (made(), OF_ROWS) for name in silences_content({each.id: each})[each.id]})
ENTRIES = st.dictionaries(st.sampled_from(NAMES_OF_SILENCES), VALUES) | VALUES


@given(st.dictionaries(TEXTS, ENTRIES, max_size=5))
def test_any_silences_are_written_as_read(content: dict[str, object]) -> None:
    found = silences_of(content, matcher_or_none)
    assert silences_of(json.loads(json.dumps(silences_content(found))), matcher_or_none) == found
