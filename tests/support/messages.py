"""Hook messages for tests of delivery."""

from __future__ import annotations

from envwatch.hooks.message import Message
from envwatch.model.text import clean


def message(summary: str = "web went offline", **changes: object) -> Message:
    values = {
        "summary": clean(summary),
        "text": summary,
        "cloud_event": b'{"specversion":"1.0","id":"evt-1"}',
        "variables": {"ENVWATCH_SUMMARY": clean(summary)},
        "pagerduty": {"event_action": "trigger", "dedup_key": "inc-1"},
    }
    return Message(**(values | changes))  # type: ignore[arg-type]
