"""httpx without the command line that it carries: import httpx from here.

`httpx/__init__.py` imports its own CLI whenever click is installed, and with it click, Rich and Pygments: 45 ms of 120,
and Rich in commands that draw nothing. httpx has a way without them, for those who did not install that extra, which
an entry of None in `sys.modules` (Python's documented way to make an import fail) takes. The entry goes at once, so
nobody else finds the CLI missing.
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
