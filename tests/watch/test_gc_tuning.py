"""A large listing is read without garbage collections, and no garbage is kept forever."""

from __future__ import annotations

import asyncio
import gc
import platform
import subprocess
import sys
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.app_harness import target_of
from support.builders import page_bytes, wire_row
from support.fake_clock import Script, World, poller_of
from support.programs import TIMEOUT_S
from support.quick_apps import DEFAULT_THRESHOLDS

from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import Session
from envwatch.model.page import parse_page
from envwatch.watch import gc_tuning

if TYPE_CHECKING:
    from collections.abc import Iterator


def pages_of_rows() -> list[bytes]:
    """Return many small pages: newer Pythons collect only between two instructions, so never during the parsing of a
    page.
    """
    return [page_bytes([wire_row(id=f"env-{page}-{n}") for n in range(100)]) for page in range(50)]


@contextmanager
def looks() -> Iterator[list[int]]:
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield generations
    finally:
        gc.callbacks.remove(note)


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    relaxed = gc.get_threshold()
    gc.set_threshold(*DEFAULT_THRESHOLDS)
    yield
    gc.set_threshold(*relaxed)


@pytest.fixture
def started() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc_tuning.start()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_a_large_listing_is_read_without_full_collections(
    request: pytest.FixtureRequest,
) -> None:
    pages = pages_of_rows()
    gc.collect()
    with looks() as usual:
        kept = [parse_page(page) for page in pages]
    del kept
    request.getfixturevalue("started")
    with looks() as generations:
        kept = [parse_page(page) for page in pages]
    # Python 3.13 collects every 2,000 new objects, 3.11 and 3.12 every 700; envwatch sets 20,000.
    assert 0 < len(generations) * 5 < len(usual)
    assert 2 not in generations
    assert sum(len(page.environments) for page in kept) == 5_000


@pytest.mark.usefixtures("started")
def test_no_collection_of_young_objects_looks_at_many() -> None:
    looked_at = []

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked_at.append(sum(len(gc.get_objects(generation)) for generation in range(info["generation"] + 1)))

    gc.callbacks.append(count)
    kept: list[list[None]] = [[] for _ in range(600_000)]
    gc.callbacks.remove(count)
    assert len(kept) > 4 * max(looked_at)


@pytest.mark.usefixtures("started")
def test_many_short_lived_objects_start_no_full_collection() -> None:
    with looks() as generations:
        for _ in range(15):
            listing: list[list[None]] = [[] for _ in range(100_000)]
            listing.clear()
    assert 1 in generations
    assert 2 not in generations


class Cycle:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


async def test_a_timer_collects_old_garbage_again_and_again() -> None:
    thresholds = gc.get_threshold()
    gc_tuning.keep_collecting(every_s=0)
    gc.disable()  # young objects are not collected in between
    try:
        for _ in range(2):
            freed, cycle = asyncio.Event(), Cycle()
            weakref.finalize(cycle, freed.set)
            gc.collect(1)
            assert any(each is cycle for each in gc.get_objects(generation=2))
            del cycle
            async with asyncio.timeout(TIMEOUT_S):
                await freed.wait()
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def test_a_large_fleet_is_collected_seldom_and_much_garbage_never_makes_the_wait_longer() -> None:
    assert gc_tuning.wait_after(0, 0.01, 60) == 60
    assert gc_tuning.wait_after(1_000, 0.5, 60) == 250
    assert gc_tuning.wait_after(400_000, 0.5, 60) == 60


async def test_collections_start_once_when_the_first_outcome_has_been_judged() -> None:
    thresholds = gc.get_threshold()
    frozen, done = gc.get_freeze_count(), asyncio.Event()
    gc_tuning.stop()
    try:
        observe = gc_tuning.start_after_first_outcome(delay_s=0)
        observe(NO_PROFILE, "the first outcome")
        assert not gc.isenabled()
        asyncio.get_running_loop().call_soon(done.set)
        await done.wait()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
        once = gc.get_freeze_count()
        kept: list[list[None]] = [[] for _ in range(1_000)]
        observe(NO_PROFILE, "another one")
        await asyncio.sleep(0)
        assert len(kept) > gc.get_freeze_count() - once
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def test_objects_alive_when_an_outcome_comes_are_still_collected_later() -> None:
    world = World()
    frozen = gc.get_freeze_count()
    async with Session({NO_PROFILE: target_of(poller_of(world, Script(world)))}) as session:
        for _ in range(3):
            await anext(session)
            await asyncio.sleep(0)
    assert gc.get_freeze_count() == frozen


_HEAPS = """\
import ctypes, threading
from envwatch.watch import gc_tuning
{call}
kept, done = [], threading.Barrier(5)
def allocate():
    kept.append(bytearray(50_000))
    done.wait(30)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
done.wait(30)
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""
"""Prints glibc's heaps while four threads hold memory."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives threads heaps of their own")
@pytest.mark.parametrize(("call", "is_shared"), [("gc_tuning.share_heap()", True), ("", False)])
def test_all_threads_allocate_from_one_heap(call: str, *, is_shared: bool) -> None:
    code = _HEAPS.format(call=call)
    heaps = subprocess.check_output([sys.executable, "-c", code], timeout=TIMEOUT_S, text=True).count("<heap nr=")
    assert (heaps == 1) is is_shared
