"""envwatch next to code that writes to standard error in every way: `python noisy_program.py ARGUMENT...`."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from typing import NoReturn

from envwatch.cli.main import main

KEPT = ("noise of logging", "noise of warnings", "noise of a descriptor", "noise of a child")
"""Expected content of the log; Textual takes prints to `sys.stderr`."""


def make_noise() -> NoReturn:
    warnings.simplefilter("always")
    pause = threading.Event()
    while True:
        logging.getLogger("some.library").warning("noise of logging")
        warnings.warn("noise of warnings", stacklevel=1)
        sys.stderr.write("noise of a stream\n")
        os.write(2, b"noise of a descriptor\n")
        subprocess.run(["sh", "-c", "echo noise of a child >&2"], check=False)
        pause.wait(0.1)


if __name__ == "__main__":
    threading.Thread(target=make_noise, daemon=True).start()
    sys.exit(main())
