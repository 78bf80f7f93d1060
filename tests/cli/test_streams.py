"""Properties of standard output."""

from __future__ import annotations

import io

import pytest

from envwatch.cli.streams import is_utf8


@pytest.mark.parametrize(
    ("environ", "encoding", "expected"),
    [
        ({}, "utf-8", True),
        ({}, "ascii", False),
        ({"LC_ALL": "C"}, "utf-8", False),
        ({"LC_ALL": "POSIX"}, "UTF8", False),
        ({"LC_ALL": "C.UTF-8"}, "utf-8", True),
        ({"LC_ALL": "de_DE.utf8"}, "utf-8", True),
        ({"LC_ALL": "de_DE.UTF-8@euro"}, "utf-8", True),
        ({"LC_ALL": "de_DE.ISO-8859-1"}, "utf-8", False),
        ({"LC_ALL": "de_DE"}, "utf-8", True),
        ({"LC_ALL": "", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "C", "LANG": "en_US.UTF-8"}, "utf-8", False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "UTF-8"}, "utf-8", True),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, "utf-8", True),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, "utf-8", True),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "utf-8", True),
    ],
)
def test_a_stream_is_utf_8_by_its_encoding_and_by_the_locale_that_python_hides(
    environ: dict[str, str], encoding: str, *, expected: bool
) -> None:
    assert is_utf8(io.TextIOWrapper(io.BytesIO(), encoding), environ) is expected
