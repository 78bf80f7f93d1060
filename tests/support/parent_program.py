"""The parent of a program of ours, as a shell without job control is one: `python parent_program.py COMMAND...`.

Prints the terminal's settings, runs the command without its interpreter, and prints its exit code and the settings
again. Unlike a shell it can be forked, and then its child shares all that is imported.
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
    """Run the command in a child."""
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
    """Print the terminal's settings as one word."""
    subprocess.run(["stty", "-g"], check=True)


if __name__ == "__main__":
    main()
