"""Letta's API over HTTP, as a source of snapshots; the only package that knows httpx.

`client` reads all pages within deadlines, `transport` sends one request within limits, `errors` turns a response into a
page or a failure, `pagination` joins pages, `absences` asks for missing rows, `network_settings` decides which server,
proxy and certificates are allowed. No httpx object leaves this package.

Import httpx from here, without its command line. `httpx/__init__.py` imports its CLI whenever click is installed, and
with it click, Rich and Pygments: 45 ms of 120, and Rich in commands that draw nothing. httpx also works without the
CLI. An entry of None in `sys.modules`, Python's documented way to make an import fail, hides it; the entry is removed
at once, so that others still find the CLI.
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
