"""Records a life into a folder until killed, and prints each written poll's number in a line.

Arguments: the folder, the moment of the first poll, the number of polls.
"""

from __future__ import annotations

import sys
from pathlib import Path

from support.memory_history import recorded
from support.recording import ALWAYS, life

from envwatch.history.stored import Retention
from envwatch.history.writer import FolderWriter


def main() -> None:
    folder, at, count = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    history, writer = recorded(life(count, at)), FolderWriter(folder, Retention())
    assert writer.take()
    for poll in history.polls(*ALWAYS):
        events = history.events(poll.at, poll.at)
        writer.write(history.moment(poll), poll.result, events)
        sys.stdout.write(f"{poll.number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
