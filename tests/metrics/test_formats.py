"""The text formats: Prometheus' tools and parsers read any value correctly."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import environment, failed, listed, reading, uncleaned
from support.documents import promises
from support.series import Watch, complaints_of_promtool, eventful, needs_promtool, rows

from envwatch.metrics.exposition import OPENMETRICS, TEXT, exposition


@needs_promtool
@pytest.mark.parametrize("watch", [eventful(), Watch(), Watch().take(failed())], ids=["eventful", "new", "failing"])
def test_promtool_accepts_the_series(watch: Watch) -> None:
    body, _ = exposition(watch.monitor, watch.polls, reading(watch.now))
    assert complaints_of_promtool(body) == ""


@needs_promtool
def test_promtool_would_complain() -> None:
    assert "counter" in complaints_of_promtool(b"# HELP a b\n# TYPE a counter\na 1\n")


def test_the_eventful_moment_has_every_family() -> None:
    watch = eventful()
    names = {re.sub("_(bucket|count|sum)$", "", name) for name, _ in watch.series().samples}
    assert names == set(promises()["Series"])


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
