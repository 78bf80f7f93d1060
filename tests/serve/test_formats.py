"""The text formats, read by Prometheus' tools, and the page of the series."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import environment, failed, listed, reading, uncleaned
from support.documents import promises
from support.series import PROMTOOL, Watch, complaints_of_promtool, eventful, needs_promtool, rows

from envwatch.serve.exposition import OPENMETRICS, RESULTS, TEXT, exposition


@needs_promtool
@pytest.mark.parametrize("watch", [eventful(), Watch(), Watch().take(failed())], ids=["eventful", "new", "failing"])
def test_promtool_accepts_the_series(watch: Watch) -> None:
    body, _ = exposition(watch.monitor, watch.polls, reading(watch.now))
    assert complaints_of_promtool(body) == ""


@needs_promtool
def test_promtool_would_complain() -> None:
    assert "counter" in complaints_of_promtool(b"# HELP a b\n# TYPE a counter\na 1\n")


@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["", "\\", '"', "\n", "\r"])] * 2
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_name_can_break_the_format(texts: list[tuple[str, str]]) -> None:
    """Even uncleaned text: both parsers read the written text back."""
    named = [
        replace(environment(f"env-{n}"), name=uncleaned(name or "x"), pod_id=uncleaned(pod))
        for n, (name, pod) in enumerate(texts)
    ]
    series = Watch().take(listed(named)).series()
    found = {labels["id"]: (labels["name"], labels["pod"]) for labels in series.of("envwatch_environment_info")}
    assert found == {row.id: (row.label, row.pod_id) for row in named}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4;q=1", TEXT),
        ("text/plain; version=nonsense", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3",
            OPENMETRICS,
        ),
        ("application/openmetrics-text;version=oh\tno", OPENMETRICS),
    ],
)
def test_the_header_accept_chooses_the_format(accept: str, content_type: str) -> None:
    watch = Watch().take(listed(rows(1)))
    body, found = exposition(watch.monitor, watch.polls, reading(watch.now), accept=accept)
    assert found == content_type
    assert body.endswith(b"# EOF\n") == (content_type == OPENMETRICS)


def test_one_moment_gives_one_text() -> None:
    watch = eventful()
    first, second = (exposition(watch.monitor, watch.polls, reading(watch.now)) for _ in range(2))
    assert first == second


# The page has every series with labels, and valid queries.

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
    assert DOCUMENTED.keys() == labels.keys() == set(promises()["Series"])
    assert {name: labels[name] - of_page for name, of_page in DOCUMENTED.items()} == {name: set() for name in labels}
    assert set(RESULTS) <= DOCUMENTED["envwatch_polls_total"]


@needs_promtool
def test_each_query_is_valid_and_asks_for_existing_series(tmp_path: Path) -> None:
    assert len(QUERIES) > 10
    rules = tmp_path / "rules.json"  # JSON is YAML
    records = [{"record": f"query{number}", "expr": query} for number, query in enumerate(QUERIES)]
    rules.write_text(json.dumps({"groups": [{"name": "page", "rules": records}]}))
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", str(rules)], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
    names = {re.sub(r"_bucket$", "", name) for query in QUERIES for name in re.findall(r"envwatch_\w+", query)}
    assert names <= DOCUMENTED.keys()
