"""Programs on a fast clock: faketime gives a program and all children a clock with short seconds.

A program takes a word, a folder and the speed, and prints an outcome as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from shutil import which
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.pty_terminal import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_S: Final = 300.0
"""Real seconds until a program must end: generous, because a busy machine is slow."""

HAS_FAKETIME: Final = which("faketime") is not None

needs_faketime = pytest.mark.skipif(not HAS_FAKETIME, reason="faketime is not installed (Debian: faketime)")


def outcome_of(arguments: Sequence[str], home: Path, speed: int) -> Any:
    """Run a Python program on a fast clock, and return the outcome.

    Args:
        arguments: the program's file and word.
        home: an empty folder.
        speed: factor of the clock.
    """
    command = ["faketime", "-f", f"+0 x{speed}", sys.executable, *arguments, str(home), str(speed)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    with Popen(command, env=environ, stdout=PIPE, stderr=PIPE, encoding="utf-8") as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.terminate()
    assert process.returncode == 0, errors
    return json.loads(output)


def give_outcome(program: Callable[[Path, float], Any]) -> None:
    """Call a program's function and print the outcome; SIGTERM ends the started programs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _, _, folder, speed = sys.argv
    json.dump(program(Path(folder), float(speed)), sys.stdout)
