"""What holds for every test: no deadline for properties, and no longer waits for an app than it takes.

Machines under load are slow and not wrong.
"""

from hypothesis import settings
from textual import _wait

settings.register_profile("envwatch", deadline=None, print_blob=True)
settings.load_profile("envwatch")

# Textual calls an app idle that hardly used the CPU for 20 ms, and waits for that three times a key: 8 are enough.
_wait.SLEEP_GRANULARITY = 0.008
