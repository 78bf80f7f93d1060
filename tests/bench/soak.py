"""A day of polls, 17,280 of them, on fast clocks: `python tests/bench/soak.py`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sources.test_soak import MIB, ROWS, WARM, assert_flat, soak

POLLS = 17_280


def main() -> None:
    """Soak for a day, and print what grew."""
    started = time.process_time()
    warm, end = asyncio.run(soak(POLLS))
    spent = time.process_time() - started
    sys.stdout.write(
        f"{POLLS} polls of {ROWS} rows in {spent:.0f} s of CPU\n"
        f"after {WARM} and at the end: peak of memory {warm.peak / MIB:.1f} and {end.peak / MIB:.1f} MiB, "
        f"blocks {warm.blocks} and {end.blocks}, descriptors {warm.descriptors} and {end.descriptors}, "
        f"tasks {warm.tasks} and {end.tasks}\n"
    )
    assert_flat(warm, end)


if __name__ == "__main__":
    main()
