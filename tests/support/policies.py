"""Alert policies of tests in which time is short."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE

if TYPE_CHECKING:
    from envwatch.model.text import SafeText


def soon(**settings: Any) -> dict[SafeText, AlertPolicy]:
    """The policies of a single profile whose losses count after ten seconds."""
    return {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=10), **settings)}
