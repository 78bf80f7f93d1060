"""The only import of httpx; no httpx object leaves `letta` and `deliver`, because it can hold the key.

If click is installed, httpx imports a CLI with click, Rich and Pygments: 45 ms of 120. None in `sys.modules` hides the
CLI from this import only.
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
