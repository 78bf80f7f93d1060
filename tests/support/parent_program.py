"""A parent process like a shell without job control: `python parent_program.py COMMAND...`.

Prints the terminal's settings before and after the command, and the exit code. Unlike a shell, the parent can be
forked, so the child shares all imports.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import fork_server


def main() -> None:
    print_settings()
    child = os.fork()
    if not child:
        fork_server.run_here(sys.argv[1:])
        sys.exit()
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"code {code if code >= 0 else 128 - code}\n")
    sys.stdout.flush()
    print_settings()


def print_settings() -> None:
    subprocess.run(["stty", "-g"], check=True)


if __name__ == "__main__":
    main()
