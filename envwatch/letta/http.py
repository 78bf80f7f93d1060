"""The only import of httpx. No httpx object leaves `letta` and `deliver`, because httpx's objects can hold the key.

Import httpx from here. `httpx/__init__.py` imports its CLI if click is installed, with click, Rich and Pygments: 45 ms
of 120, and Rich in commands that draw nothing. None in `sys.modules` hides the CLI; removing the entry at once keeps
the CLI available to the rest of the process.
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
