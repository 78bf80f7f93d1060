"""What the garbage collector is told, for the rows of a large fleet live long and make no rings.

Left alone, it looks through all of them again and again, which holds up the keys for a tenth of a second each time.
"""

from __future__ import annotations

import gc


def stop() -> None:
    """Let imports be: they make hundreds of thousands of objects and next to no garbage."""
    gc.disable()


def start() -> None:
    """Look seldom, and never at what has been imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()


def settle() -> None:
    """Never look at what is there by now; what little garbage in rings is missed by this is too little to look for."""
    gc.freeze()
