"""Renewal of certificates while the server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envwatch.serving.listening import Certificate, ServerError

CERTS = Path(__file__).parents[1] / "support" / "certs"


def test_files_that_change_while_they_are_taken_over_are_taken_over_once_they_are_whole(tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    pem.write_bytes((CERTS / "localhost.pem").read_bytes())
    tls = Certificate(pem, pem)
    renewed = (CERTS / "expired.pem").read_bytes()
    pem.write_bytes(renewed)
    assert tls.is_renewed()
    pem.write_bytes(b"half a fi")
    with pytest.raises(ServerError, match=r"both\.pem cannot be used for TLS: a certificate or its key is missing"):
        tls.renew()
    pem.write_bytes(renewed)
    assert tls.is_renewed()
    tls.renew()
    assert not tls.is_renewed()
