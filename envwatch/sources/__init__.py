"""Poller, HTTP client (`letta`) and merged stream (`session`). Sources do not interpret listings."""
