"""Long-term growth: a day of polls, 17,280 polls on fast clocks (`python tests/bench/soak.py`), and the real dashboard
for a quarter of an hour (`python tests/bench soak`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from findings import Finding
from letta.test_soak import MIB, ROWS, WARM, assert_flat, soak
from programs import ENVWATCH, Glass
from support.pty_terminal import without_settings

POLLS = 17_280

WARM_UP_S = 180
SAMPLES = 60
SAMPLE_EVERY_S = 10


def dashboard() -> list[Finding]:
    """Measure the memory growth of the real program on the demo's lively fleet at a poll a second."""
    command = [*ENVWATCH, "demo", "--interval", "1s"]
    with TemporaryDirectory() as home, Glass(command, without_settings(Path(home)), columns=120, lines=40) as program:
        program.first_data()
        program.run_for(WARM_UP_S)
        warm = program.resident
        samples = []
        for _ in range(SAMPLES):
            program.run_for(SAMPLE_EVERY_S)
            samples.append(program.resident)
    return [
        Finding(
            what=f"growth of the dashboard's memory in {SAMPLES * SAMPLE_EVERY_S} s at 1 s polls, screen included",
            measured=max(samples) - warm,
            unit="MiB",
            reference=warm,
            against=f"in all after {WARM_UP_S} s",
        )
    ]


def main() -> None:
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
