"""Losses in the real program after any user action: the screen names the losses, and few keys handle a loss.

All tests' programs run at once.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.losses import CURSORS, LOSSES, NEWEST, NOTE, SITUATIONS, TOGETHER, deal_with, misses_of
from support.pty_terminal import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from support.losses import Dealt

AT_ONCE = 24

QUICK = ("nothing touched", "help", "about to acknowledge", "all groups folded", "time machine", "second profile")
"""Situations of a default run and of every size, one for each way to hide a row.

`tests/views/test_block.py` proves the block's lines."""


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """Begin the runs of all selected tests, after the program that later programs are forked from."""
    programs.run([sys.executable, "-m", "envwatch", "--version"], environment(tmp_path_factory.mktemp("first")))
    items = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    runs: dict[str, Any] = {item.nodeid: item.callspec.params["outcome"] for item in items}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield {id_: threads.submit(run, tmp_path_factory.mktemp("home")) for id_, run in runs.items()}


@pytest.fixture
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Future[Any]]) -> Future[Any]:
    return outcomes[request.node.nodeid]


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(
            partial(misses_of, situation=situation, columns=columns, lines=lines),
            id=f"{name}-{columns}x{lines}",
            marks=[] if lines == 24 and name in QUICK else pytest.mark.slow,
        )
        for columns, lines in ((80, 24), (120, 36), (60, 20), (40, 8))
        for name, situation in SITUATIONS.items()
        if lines in {24, 8} or name in QUICK  # all in the usual and the smallest size
    ],
    indirect=True,
)
def test_two_losses_3_s_apart_are_in_view_after_two_polls_and_after_twelve(outcome: Future[list[str]]) -> None:
    misses = outcome.result()
    assert not misses, "\n".join(misses)


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(
            partial(deal_with, loss=loss, cursor=cursor),
            id=f"{name}-{place}",
            marks=pytest.mark.slow if cursor and len(loss.names) + len(loss.steps) > 1 else [],
        )
        for name, loss in LOSSES.items()
        for place, cursor in CURSORS.items()
    ],
    indirect=True,
)
def test_three_keys_and_a_note_lead_from_a_loss_to_a_loss_that_is_explained_known_and_told(
    outcome: Future[Dealt],
) -> None:
    dealt = outcome.result()
    (line,) = dealt.lines
    assert re.search("NEW .*disconnected", line)
    assert len(dealt.commands) <= 3
    assert NOTE in dealt.acknowledged
    is_of_twelve = "12 off" in line
    assert ("12 off" in dealt.acknowledged) is is_of_twelve
    whose = [*TOGETHER[:4], "8 more"] if is_of_twelve else [NEWEST]
    assert all(text in dealt.copied for text in (*whose, "offline since", "disconnected", NOTE)), dealt.copied
