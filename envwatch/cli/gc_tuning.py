"""GC tuning: the rows of a large fleet are long-lived and form no reference cycles.

With Python's defaults, each full collection of a large fleet blocks the keys for a tenth of a second. What is imported
and the first listing are frozen, once. Nothing is frozen later: freezing keeps the garbage of that moment, 0.1 to
0.4 MiB with every poll.
"""

from __future__ import annotations

import gc
from typing import Final

_DRAWN_AFTER_S: Final = 1.0
"""From the first outcome until it has been judged and drawn, also at 10,000 rows on a slow machine."""

_YOUNG: Final = (20_000, 5)
"""New objects per collection of the youngest generation, and such collections per collection of the next one."""

_OLD: Final = 5
"""Least number of collections of the second generation per full collection. Textual's lines are reference cycles, of
which about 3,000 objects a minute (0.3 MiB) become old before they are garbage, measured at one poll a second."""

_OBJECTS: Final = 10_000
"""Objects per further collection before a full one, which takes 50 ms at 10,000 rows and ten times that at 100,000."""


def stop() -> None:
    """Collect nothing during imports, which make hundreds of thousands of objects and hardly any garbage."""
    gc.disable()


class StartAfterFirstOutcome:
    """An observer of a session that starts collections once, when the first outcome has been judged and drawn."""

    def __init__(self, delay_s: float = _DRAWN_AFTER_S) -> None:
        self._delay_s = delay_s
        self._is_scheduled = False

    def __call__(self, *_: object) -> None:
        """Observe an outcome."""
        import asyncio

        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(self._delay_s, start)


def start() -> None:
    """Collect rarely, at most about 140,000 young objects at once, and never what is there by now."""
    gc.freeze()
    gc.set_threshold(*_YOUNG, _OLD)
    if _space_full_collections not in gc.callbacks:
        gc.callbacks.append(_space_full_collections)
    gc.enable()


def _space_full_collections(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.set_threshold(*_YOUNG, max(_OLD, len(gc.get_objects()) // _OBJECTS))
