"""The process that hands one message to apprise, whose services take any time; see `command.apprise_command`.

Addresses hold secrets: they come on standard input, as arguments can be read by every user of a machine.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int | str:
    """Send the message on standard input; return 0, or one line that says what failed."""
    request = json.load(sys.stdin)
    notifier = importlib.import_module("apprise").Apprise()
    for number, url in enumerate(request["urls"], 1):
        if not notifier.add(url):
            return f"apprise does not know address {number}"
    return 0 if notifier.notify(title=request["title"], body=request["body"]) else "a service refused the message"


if __name__ == "__main__":
    sys.exit(main())
