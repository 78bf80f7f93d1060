"""Poller, HTTP client and merged stream. Sources do not interpret listings."""
