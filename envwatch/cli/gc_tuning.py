"""How the garbage collector is set: the rows of a large fleet live long and make no reference cycles.

With its usual settings it looks through all of them again and again, which holds up the keys for a tenth of a second
each time. What is imported is frozen once, so it is never looked through. Nothing is frozen later: each freeze keeps
the garbage of that moment for ever, which made the dashboard grow by 0.1 to 0.4 MiB with every poll.
"""

from __future__ import annotations

import gc
from typing import Final

_YOUNG: Final = (20_000, 5)
"""New objects until the new ones are looked through, and how often that is done until the next older ones are too."""

_LEAST: Final = 5
"""How often that is done, at least, until everything is looked through. Textual's lines of text are reference cycles,
of which some 3,000 objects a minute grow old before they are garbage: 0.3 MiB, measured at a poll a second."""

_OBJECTS: Final = 10_000
"""And once more for each so many objects: everything takes 50 ms at 10,000 rows, and ten times that at 100,000."""


def stop() -> None:
    """Let imports be: they make hundreds of thousands of objects and next to no garbage."""
    gc.disable()


def start() -> None:
    """Look seldom, at no more than some 140,000 young objects at once, and never at what has been imported."""
    gc.freeze()
    gc.set_threshold(*_YOUNG, _LEAST)
    if _space_full_collections not in gc.callbacks:
        gc.callbacks.append(_space_full_collections)
    gc.enable()


def _space_full_collections(phase: str, told: dict[str, int]) -> None:
    if phase == "stop" and told["generation"] == 2:
        gc.set_threshold(*_YOUNG, max(_LEAST, len(gc.get_objects()) // _OBJECTS))
