"""Alert policies with short times, for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.tracking import EVERYTHING

if TYPE_CHECKING:
    from envwatch.model.text import SafeText


def soon(**settings: Any) -> dict[SafeText, AlertPolicy]:
    """Return the policy of a single profile: every row counts, and a loss after ten seconds."""
    usual: dict[str, Any] = {"alert": EVERYTHING, "alert_after": timedelta(seconds=10)}
    return {NO_PROFILE: AlertPolicy(**usual | settings)}
