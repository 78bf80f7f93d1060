"""A large listing is not looked through for garbage while it is read."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builders import page_bytes, wire_row

from envwatch import collector
from envwatch.models import page_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [page_bytes([wire_row(id=f"env-{page}-{n}") for n in range(100)]) for page in range(150)]
"""Many small ones: newer Pythons collect only between two instructions, so never while a page is parsed."""


@contextmanager
def looks() -> Iterator[list[int]]:
    """The generations through which the collector looks meanwhile."""
    generations: list[int] = []

    def note(phase: str, told: dict[str, int]) -> None:
        if phase == "start":
            generations.append(told["generation"])

    gc.callbacks.append(note)
    try:
        yield generations
    finally:
        gc.callbacks.remove(note)


def test_a_large_listing_is_read_without_looking_through_all_that_is_there() -> None:
    before = gc.get_threshold()
    gc.collect()
    with looks() as usual:
        kept = [page_of(page) for page in PAGES]
    del kept
    try:
        collector.start()
        with looks() as generations:
            kept = [page_of(page) for page in PAGES]
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    # Python 3.13 collects every 2,000 new objects by itself, 3.11 and 3.12 every 700; we ask for every 20,000.
    assert 0 < len(generations) * 5 < len(usual)
    assert 2 not in generations
    assert sum(len(page.environments) for page in kept) == 15_000
