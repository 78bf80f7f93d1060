"""The alert state file and the hooks' lock: state after a kill, and the process that runs the hooks."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

from support import programs

from envwatch.files import ProcessLock
from envwatch.storage.state_file import ALERT_STATE, StateFile, merge

if TYPE_CHECKING:
    from pathlib import Path

KILLED_AT_EVERY_STEP = """
import json, os, signal, sys
from pathlib import Path
from envwatch.storage.state_file import ALERT_STATE
from envwatch.storage.state_file import merge

path, step, steps = Path(sys.argv[1]), 0, 0

def count(event, _arguments):
    # Each step of a write that the system sees: opening, renaming and removing files.
    global steps
    if step and event in {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod"}:
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
old, new = {"looked_at": 1.0, "online": ["a"] * 1000}, {"looked_at": 2.0, "online": ["b"] * 2000}
while True:
    merge(path, ALERT_STATE, old)
    if (child := os.fork()) == 0:
        step, steps = int(os.environ["STEP"]), 0
        merge(path, ALERT_STATE, new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = ALERT_STATE.read(path)
    print(json.dumps([os.WIFSIGNALED(status), found == old, found == new]), flush=True)
    if not os.WIFSIGNALED(status):
        break
    os.environ["STEP"] = str(int(os.environ["STEP"]) + 1)
"""


def test_a_process_that_is_killed_at_any_step_of_a_write_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    environ = os.environ | {"STEP": "1"}
    done = programs.run([sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "work.json")], environ)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(steps) >= 4
    assert [was_killed for was_killed, _, _ in steps] == [True] * (len(steps) - 1) + [False]
    assert all(is_old or is_new for _, is_old, is_new in steps), "a state is neither the old nor the new one"
    assert steps[0][1:] == [True, False]
    assert steps[-1][1:] == [False, True]


def test_the_file_is_private_and_a_damaged_one_is_set_aside(tmp_path: Path) -> None:
    path, notes = tmp_path / "alerts" / "work.json", list[str]()
    path.parent.mkdir()
    path.write_text("{damaged")
    file = StateFile(ALERT_STATE, path, notes.append)
    file.keep({"looked_at": 1.0})
    file.close()
    assert json.loads(path.read_bytes()) == {"looked_at": 1.0}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert notes[0] == f"forgot which alerts wait or are open: damaged ({path})"
    assert (path.parent / "work.json.damaged").exists()


def test_a_part_of_a_state_replaces_that_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    merge(path, ALERT_STATE, {"looked_at": 1.0, "ledger": {"inc-1": {}}})
    merge(path, ALERT_STATE, {"ledger": {"inc-2": {}}})
    assert ALERT_STATE.read(path) == {"looked_at": 1.0, "ledger": {"inc-2": {}}}


def test_a_function_is_called_after_the_changes_before_are_written(tmp_path: Path) -> None:
    path, found, is_called = tmp_path / "work.json", list[object](), threading.Event()

    def call() -> None:
        found.append(ALERT_STATE.read(path))
        is_called.set()

    file = StateFile(ALERT_STATE, path, print)
    file.keep({"looked_at": 1.0})
    file.call_when_written(call)
    assert is_called.wait(60)
    assert found == [{"looked_at": 1.0}]
    file.close()


def test_one_process_has_the_lock_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "work.lock"
    one, other = ProcessLock(path), ProcessLock(path)
    assert other.holder == ""
    assert one.acquire()
    assert one.acquire(), "it has it already"
    assert not other.acquire()
    assert other.holder == str(os.getpid())
    one.release()
    assert other.acquire()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from envwatch.files import ProcessLock; "
        "print(ProcessLock(Path(sys.argv[1])).acquire(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "work.lock"
    done = programs.run([sys.executable, "-c", program, str(path)], dict(os.environ))
    assert done.stdout.strip() == b"True"
    lock = ProcessLock(path)
    assert lock.acquire()
    lock.release()
