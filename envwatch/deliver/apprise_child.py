"""The child process of `delivery.Apprise`.

Addresses hold secrets and come on standard input, because every user can read arguments.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int | str:
    """Send the message from standard input, or only check the addresses; return 0, or the failure."""
    request = json.load(sys.stdin)
    notifier = importlib.import_module("apprise").Apprise()
    for number, url in enumerate(request["urls"], 1):
        if not notifier.add(url):
            return f"apprise does not know address {number}"
    if "body" not in request:
        return 0
    return 0 if notifier.notify(title=request["title"], body=request["body"]) else "a service refused the message"


if __name__ == "__main__":
    sys.exit(main())
