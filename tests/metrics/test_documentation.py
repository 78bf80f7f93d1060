"""The page of the series has every series with labels, and valid queries."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from support.series import PROMTOOL, eventful, needs_promtool

from envwatch.metrics.exposition import RESULTS

PAGE: Final = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
QUERIES: Final = re.findall(r"^```promql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
DOCUMENTED: Final = {
    name: set(re.findall(r"`([^`]+)`", rest))
    for name, rest in re.findall(r"^\| `(envwatch_\w+)` \|(.*)$", PAGE, re.MULTILINE)
}
"""The series in the tables, each with the backticked words of the line."""


def test_the_page_has_every_series_with_its_labels_and_their_values_and_no_other() -> None:
    labels: dict[str, set[str]] = {}
    for name, pairs in eventful().series().samples:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        of_environment = {"profile", "id"} if name.startswith("envwatch_environment_") else set()
        labels.setdefault(family, set()).update(dict(pairs).keys() - of_environment)
        for label in ("state", "result"):
            labels[family] |= {value for key, value in pairs if key == label}
    assert DOCUMENTED.keys() == labels.keys()
    assert {name: labels[name] - of_page for name, of_page in DOCUMENTED.items()} == {name: set() for name in labels}
    assert set(RESULTS) <= DOCUMENTED["envwatch_polls_total"]


@needs_promtool
@pytest.mark.parametrize("query", QUERIES)
def test_each_query_is_valid_and_asks_for_existing_series(query: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"  # JSON is YAML
    rules.write_text(json.dumps({"groups": [{"name": "page", "rules": [{"record": "a", "expr": query}]}]}))
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", str(rules)], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
    names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"envwatch_\w+", query)}
    assert names <= DOCUMENTED.keys()


def test_there_are_queries() -> None:
    assert len(QUERIES) > 10
