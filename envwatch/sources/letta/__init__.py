"""Letta's API over HTTP, as a source of snapshots; no httpx object leaves this package.

`client` reads all pages within deadlines, `transport` sends a request within limits, `errors` turns a response into a
page or a failure, `pagination` joins pages, `absences` requests missing rows, `network_settings` checks server, proxy
and certificates.

Import httpx from here. `httpx/__init__.py` imports its CLI if click is installed, and so click, Rich and Pygments: 45
ms of 120, and Rich in commands that draw nothing. An entry of None in `sys.modules`, Python's documented way to make an
import fail, hides the CLI. The entry is removed at once, so the rest of the process still finds the CLI.
"""

import sys

if "httpx" in sys.modules:
    import httpx
else:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # typeshed knows modules only
    try:
        import httpx
    finally:
        del sys.modules["httpx._main"]

__all__ = ["httpx"]
