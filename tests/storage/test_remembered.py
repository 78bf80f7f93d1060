"""State files: concurrent instances lose no changes, and neither damage nor a full disk stops the program."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import programs
from support.app_harness import Stage, staged
from support.builders import beating, key_of
from support.load import at_most
from support.pty_terminal import ENTER, Terminal, environment

from envwatch.demo.server import Server
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.storage.state_file import (
    ACKNOWLEDGEMENTS,
    MOST_ACKS,
    REMEMBERED,
    StateFile,
    acknowledged,
    merge,
    remembered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import ServerKey

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


def test_what_was_kept_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    assert remembered(path) == {}
    assert kept(path, {"theme": "nord"}, {"columns": ("name", "mode")}, {"theme": "envwatch-light"}) == []
    assert remembered(path) == {"theme": "envwatch-light", "columns": ("name", "mode")}


def test_what_is_none_is_forgotten_and_no_longer_written(tmp_path: Path) -> None:
    kept(tmp_path / "s", {"columns": ("mode",), "theme": "nord"}, {"columns": None})
    assert remembered(tmp_path / "s") == {"theme": "nord"}
    assert json.loads((tmp_path / "s").read_text()) == {"theme": "nord"}


@pytest.mark.parametrize("bell", [True, False])
def test_a_bell_that_was_turned_off_differs_from_one_that_was_never_set(tmp_path: Path, *, bell: bool) -> None:
    kept(tmp_path / "s", {"bell": bell})
    assert remembered(tmp_path / "s") == {"bell": bell}


def test_nothing_is_written_before_something_changes(tmp_path: Path) -> None:
    assert kept(tmp_path / "s") == []
    assert list(tmp_path.iterdir()) == []


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
        b'{"theme": 5, "sort": [], "columns": "name"}',
        b'{"theme": "", "sort": "a\\nb", "columns": []}',
        b'{"theme": "\\u001b[31m", "sort": null, "columns": ["name", 5]}',
        json.dumps({"theme": "x" * 201, "columns": {"a": 1}}).encode(),
        b'{"bell": 1}',
        b'{"bell": "true"}',
    ],
)
def test_a_damaged_file_counts_as_empty_and_the_next_change_repairs_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    assert remembered(path) == {}
    is_whole = content.startswith(b'{"')
    aside = tmp_path / "s.damaged"
    notes = [f"forgot how the screen looked: damaged ({path})", f"set aside what was damaged: {aside}"]
    assert kept(path, {"theme": "nord"}, {"theme": "nord"}) == ([] if is_whole else notes)
    assert remembered(path)["theme"] == "nord"
    assert (aside.read_bytes() if aside.exists() else None) == (None if is_whole else content)


@pytest.mark.usefixtures("umask")
def test_a_damaged_file_is_set_aside_as_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text('{"theme": "no')
    path.chmod(0o644)
    kept(path, {"sort": "mode"})
    aside = tmp_path / "s.damaged"
    assert (aside.read_text(), stat.S_IMODE(aside.stat().st_mode)) == ('{"theme": "no', 0o600)
    assert json.loads(path.read_text()) == {"sort": "mode"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "s.damaged", "s.lock"]


def test_of_damaged_files_the_newest_is_kept(tmp_path: Path) -> None:
    for content in ("{1", "{2"):
        (tmp_path / "s").write_text(content)
        kept(tmp_path / "s", {"sort": "mode"})
    assert (tmp_path / "s.damaged").read_text() == "{2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "s.damaged", "s.lock"]


def test_nothing_outside_is_touched_where_a_link_stands_in_the_place_of_a_file(tmp_path: Path) -> None:
    outside = [tmp_path / "outside", tmp_path / "outside too"]
    for file in outside:
        file.write_text("{")
        file.chmod(0o644)
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "s").symlink_to(outside[0])
    (folder / "s.damaged").symlink_to(outside[1])
    kept(folder / "s", {"sort": "mode"})
    assert (folder / "s.damaged").readlink() == outside[0]
    assert json.loads((folder / "s").read_text()) == {"sort": "mode"}
    assert not (folder / "s").is_symlink()
    assert [(file.read_text(), stat.S_IMODE(file.stat().st_mode)) for file in outside] == [("{", 0o644)] * 2


def test_a_file_that_cannot_be_read_is_no_damaged_one_and_stays_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()  # which no user can read as a file
    notes = kept(path, {"sort": "mode"})
    assert notes == [
        f"forgot how the screen looked: Is a directory ({path})",
        f"cannot remember how the screen looked: Is a directory ({path})",
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "s.lock"]


def test_a_damaged_file_stays_in_its_place_until_something_can_be_put_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("{")
    (tmp_path / "s.new").mkdir()
    assert len(kept(path, {"sort": "mode"})) == 2
    assert path.read_text() == "{"
    assert not (tmp_path / "s.damaged").exists()


@given(
    content=st.binary(max_size=60) | st.recursive(st.text() | st.none(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_content_stops_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("memory") / "s"
    path.write_bytes(content)
    assert remembered(path) == {}


def test_a_pipe_in_the_files_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s")
    assert remembered(tmp_path / "s") == {}


def test_what_a_newer_envwatch_remembers_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text('{"theme": "nord", "panes": {"detail": 5}}')
    kept(tmp_path / "s", {"sort": "mode"})
    assert json.loads((tmp_path / "s").read_text()) == {"theme": "nord", "panes": {"detail": 5}, "sort": "mode"}


def test_the_rest_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "s.new").write_text("half a fi")
    assert kept(tmp_path / "s", {"theme": "nord"}) == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["s", "s.lock"]


def test_a_place_that_cannot_be_written_is_noted_once(tmp_path: Path) -> None:
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


def test_two_instances_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = (
        "import sys; from pathlib import Path\n"
        "from envwatch.storage.state_file import REMEMBERED; from envwatch.storage.state_file import merge\n"
        "for n in range(40): merge(Path(sys.argv[1]), REMEMBERED, {sys.argv[2]: f'{sys.argv[2]}-{n}'})"
    )
    names = ("theme", "sort", "panes", "times")
    run_at_once(tmp_path, script, path, names)
    assert json.loads(path.read_text()) == {name: f"{name}-39" for name in names}


def entry(id_: str, at: float, note: str) -> dict[str, object]:
    return {"at": at, "note": note, "server": "", "id": id_}


def test_what_was_acknowledged_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "acknowledged.json"
    assert acknowledged(path) == {}
    notes: list[str] = []
    book = StateFile(ACKNOWLEDGEMENTS, path, notes.append)
    book.keep(acks(3))
    book.keep({key_of("env-2"): None, key_of("env-3"): Ack(9.5, clean("")), key_of("env-4"): None})
    finish(book)
    assert notes == []
    assert json.loads(path.read_text()) == {"env-1": entry("env-1", 1, "note 1"), "env-3": entry("env-3", 9.5, "")}
    assert acknowledged(path) == {key_of("env-1"): Ack(1, clean("note 1")), key_of("env-3"): Ack(9.5, clean(""))}


def test_two_instances_that_acknowledge_and_forget_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "acknowledged.json"
    script = (
        "import sys; from pathlib import Path\n"
        "from envwatch.fleet.alerting.acknowledgements import Ack\n"
        "from envwatch.model.text import clean\n"
        "from envwatch.storage.state_file import ACKNOWLEDGEMENTS; from envwatch.storage.state_file import merge\n"
        "for n in range(40):\n"
        "    ids = [('', f'{sys.argv[2]}-{m}') for m in (n, n - 1)]\n"
        "    changes = {ids[0]: Ack(float(n), clean(ids[0][1]))} | ({ids[1]: None} if n % 2 else {})\n"
        "    merge(Path(sys.argv[1]), ACKNOWLEDGEMENTS, changes)"
    )
    run_at_once(tmp_path, script, path, ("a", "b"))
    assert acknowledged(path) == {
        key_of(f"{name}-{n}"): Ack(n, clean(f"{name}-{n}")) for name in "ab" for n in range(1, 40, 2)
    }


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
def test_ids_of_any_length_never_make_a_file_that_is_too_large_to_be_read(
    tmp_path: Path, sign: str, count: int
) -> None:
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
    path.write_text(json.dumps({"env-1": one, "env-\x1b": entry("env-\x1b", 3, "")} | damaged))
    assert acknowledged(path) == acks(1) | {key_of("env-\\x1b"): Ack(3, clean(""))}
    merge(path, ACKNOWLEDGEMENTS, {key_of("env-\\x1b"): None})
    assert json.loads(path.read_text()) == {"env-1": one}


def test_what_a_newer_envwatch_knows_of_acknowledgements_stays_unless_they_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    content = {f"env-{n}": entry(f"env-{n}", n, f"note {n}") | {"mood": "hiro"} for n in (1, 2, 3)}
    path.write_text(json.dumps(content | {"_v": 2}))
    merge(path, ACKNOWLEDGEMENTS, acks(1, first=4) | acks(1, first=2) | {key_of("env-3"): None})
    assert json.loads(path.read_text()) == {
        "env-1": content["env-1"],
        "env-2": entry("env-2", 2, "note 2"),
        "env-4": entry("env-4", 4, "note 4"),
        "_v": 2,
    }


def test_acknowledgements_of_one_id_on_two_servers_are_changed_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one, other = (clean("one.example"), clean("env-1")), (clean("other.example"), clean("env-1"))
    here = {"at": 2.0, "note": "here", "server": "one.example", "id": "env-1", "mood": "hiro"}
    path.write_text(json.dumps({"one.example env-1": here, "_v": 2}))
    merge(path, ACKNOWLEDGEMENTS, {other: Ack(3.0, clean("there"))})
    there = {"at": 3.0, "note": "there", "server": "other.example", "id": "env-1"}
    assert json.loads(path.read_text()) == {"one.example env-1": here, "other.example env-1": there, "_v": 2}
    merge(path, ACKNOWLEDGEMENTS, {one: None, other: None})
    assert json.loads(path.read_text()) == {"_v": 2}


def test_an_unknown_entry_that_is_too_large_displaces_no_acknowledgement(tmp_path: Path) -> None:
    path = tmp_path / "a"
    large = "\N{PILE OF POO}" * 800_000  # written three times as long as the read limit
    path.write_text(json.dumps({"_v": large, "env-1": entry("env-1", 1, "note 1")}, ensure_ascii=False))
    merge(path, ACKNOWLEDGEMENTS, acks(1, first=2))
    assert json.loads(path.read_text()) == {f"env-{n}": entry(f"env-{n}", n, f"note {n}") for n in (1, 2)}


NAMES = [*(each.name for each in fields(Ack)), "by"]
"""The names in an acknowledgement, and a name of a later version."""


@given(
    st.dictionaries(
        st.sampled_from(["env-1", "env-\x1b", "env-\\x1b", "env-2"]) | st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from([*(each.name for each in fields(Ack)), "by"]), inner)
            ),
        ),
    )
)
def test_whatever_stands_among_acknowledgements_the_next_one_is_kept(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("memory") / "a"
    path.write_text(json.dumps(content))
    before = dict(acknowledged(path))
    merge(path, ACKNOWLEDGEMENTS, acks(1))
    assert acknowledged(path) == before | acks(1)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"env-1": {"at": 1' + b"0" * 5000 + b', "note": ""}}']
)
def test_a_damaged_file_of_acknowledgements_is_noted_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    notes: list[str] = []
    book = StateFile(ACKNOWLEDGEMENTS, path, notes.append)
    assert notes == [f"forgot which problems were acknowledged: damaged ({path})"]
    book.keep(acks(1))
    finish(book)
    assert acknowledged(path) == acks(1)
    assert (tmp_path / "a.damaged").read_bytes() == content


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


async def test_a_notice_stands_for_ten_seconds_and_answers_to_keys_go_before_it() -> None:
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


async def test_a_theme_that_no_longer_exists_is_replaced_by_the_default() -> None:
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
        assert json.loads(state.read_text()) == {"bell": True}
        # An older envwatch remembered the sorting.
        state.write_text('{"sort": "name", "columns": ["owner"], "theme": "envwatch-light"}')
        with Terminal.of_envwatch(home=tmp_path, environ=environ | {"COLORTERM": "truecolor"}) as terminal:
            terminal.wait_for("BEAT NAME +KEY OWNER")
            assert "▲" not in terminal.text
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        assert b"48;2;255;255;255" in terminal.received
