"""Programs on a fast clock: faketime gives a program, and all programs that it starts, a clock with short seconds.

Such a program takes a word, a folder and the speed as its arguments, and prints an outcome as JSON.
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
"""Real seconds until a program has ended: a busy machine is slow and not wrong."""

HAS_FAKETIME: Final = which("faketime") is not None

needs_faketime = pytest.mark.skipif(not HAS_FAKETIME, reason="faketime is not installed (Debian: faketime)")


def outcome_of(arguments: Sequence[str], home: Path, speed: int) -> Any:
    """Run a Python program to its end, on a clock that is faster by a factor, and return the outcome.

    Args:
        arguments: the file of the program, and its word.
        home: an empty folder.
        speed: the factor.
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
    """Call the function of such a program, and print the outcome; SIGTERM ends the programs that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _, _, folder, speed = sys.argv
    json.dump(program(Path(folder), float(speed)), sys.stdout)
