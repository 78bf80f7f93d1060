"""The state files of a long run: changes of this process and of others."""

from __future__ import annotations

import asyncio
import errno
import fcntl
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, key_of, reading
from support.upstream import wait_until

from envwatch.config.credentials import Credentials
from envwatch.config.settings import Settings
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.redactor import Secret
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, acknowledged, merge
from envwatch.watch.loop import Decisions
from envwatch.watch.profiles import Profiles, SelectedProfile, state_file
from envwatch.watch.state_files import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

ACK = Ack(ServerMs(NOW), clean("disk"))
OURS, THEIRS = key_of("ours"), key_of("theirs")


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profiles:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    credentials = Credentials(Secret("sk-let-0123456789"), "here", "https://letta.example")
    return Profiles({NO_PROFILE: SelectedProfile(credentials, Settings(profile="work"))})


def test_a_decision_wins_over_the_file_until_the_decision_is_written(profiles: Profiles) -> None:
    path = state_file("acknowledged")
    with closing(StateFiles(profiles, print)) as files:
        merge(path, ACKNOWLEDGEMENTS, {THEIRS: ACK})
        with path.with_name(f"{path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # nothing is written
            files.keep(Decisions(acks={OURS: ACK}))
            assert (files.read(reading()).acks or {}).keys() == {OURS, THEIRS}
        wait_until(lambda: acknowledged(path).keys() == {OURS, THEIRS}, "the written decision")
        merge(path, ACKNOWLEDGEMENTS, {OURS: None})
        wait_until(lambda: (files.read(reading()).acks or {}).keys() == {THEIRS}, "the withdrawal by another process")
        assert files.read(reading()).acks is None, "nobody has changed the file"


async def test_acknowledgements_are_on_the_disk_after_the_wait(profiles: Profiles) -> None:
    path = state_file("acknowledged")
    with closing(StateFiles(profiles, print)) as files:
        await files.acks_written()  # nothing was decided
        merge(path, ACKNOWLEDGEMENTS, {THEIRS: ACK})
        with path.with_name(f"{path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files.keep(Decisions(acks={OURS: ACK}))
            waiting = asyncio.ensure_future(files.acks_written())
            cancelled = asyncio.ensure_future(files.acks_written())
            await asyncio.sleep(0)
            cancelled.cancel()
            assert not waiting.done()
        await waiting
        assert acknowledged(path).keys() == {OURS, THEIRS}


async def test_a_failure_to_write_acknowledgements_is_told_to_those_who_wait(profiles: Profiles) -> None:
    path, lines = state_file("acknowledged"), list[str]()
    with closing(StateFiles(profiles, lines.append)) as files:
        path.mkdir(parents=True)
        for _ in range(2):
            files.keep(Decisions(acks={OURS: ACK}))
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number follows
                await files.acks_written()
            assert caught.value.errno == errno.EISDIR
        path.rmdir()
        files.keep(Decisions(acks={OURS: ACK}))
        await files.acks_written()
        assert acknowledged(path).keys() == {OURS}
    assert len(lines) == 1, "a failure is said once"
