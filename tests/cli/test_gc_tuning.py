"""A large listing is not looked through for garbage while it is read."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.builders import page_bytes, wire_row

from envwatch.cli import gc_tuning
from envwatch.model.page import page_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = page_bytes([wire_row(id=f"env-{n}") for n in range(5_000)])


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
        kept = [page_of(PAGE) for _ in range(3)]
    del kept
    try:
        gc_tuning.start()
        with looks() as generations:
            kept = [page_of(PAGE) for _ in range(3)]
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert 0 < len(generations) * 10 < len(usual)
    assert 2 not in generations
    assert len(kept[0].environments) == 5_000
