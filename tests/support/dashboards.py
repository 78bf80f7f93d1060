"""The shipped Grafana dashboard, with queries as Prometheus gets them."""

from __future__ import annotations

import json
from typing import Any, Final

from support.prometheus_programs import OPERATORS

DASHBOARD: Final = OPERATORS / "grafana-dashboard.json"

_VARIABLES: Final = {"$__rate_interval": "1m", "$instance": ".*", "$profile": ".*"}
"""Grafana's values of the variables when all choices are selected."""


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def concrete(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def expressions() -> dict[str, str]:
    return {
        f"{panel['title']} {target['refId']}": concrete(target["expr"])
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    }
