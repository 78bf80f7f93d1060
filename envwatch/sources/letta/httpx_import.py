"""httpx without its command line: import httpx from here.

`httpx/__init__.py` imports its CLI whenever click is installed, and with it click, Rich and Pygments: 45 ms of 120, and
Rich in commands that draw nothing. httpx also works without the CLI. An entry of None in `sys.modules`, Python's
documented way to make an import fail, hides it; the entry is removed at once, so that others still find the CLI.
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
