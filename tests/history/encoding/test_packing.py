"""Values as bytes and back, and the costs."""

from __future__ import annotations

import tracemalloc
from math import inf
from typing import Any

import pytest
from support.exact import exact

from envwatch.history.encoding.packing import FramePart, packed, unpacked


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, 1e16, 5e-324, 1.7976931348623157e308, inf, -inf, 2**64, -(2**12_999), '\u2028\x7f"\\🚀é']
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    (part,) = unpacked(packed([FramePart([value], (3, 4), 5)], 6))
    assert exact(part.plain) == exact([value])
    assert (list(part.numbers), part.base) == ([3, 4], 5)


def test_packing_takes_a_few_times_the_bytes_of_the_text() -> None:
    """A whole moment of 10,000 rows has a million small values and one emoji."""
    texts = [f"sandbox-{number}" for number in range(100_000)]
    part = FramePart(["🚀", *texts])
    size = sum(map(len, texts))
    tracemalloc.start()
    try:
        packed([part], 6)
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()
