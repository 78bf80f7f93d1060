"""Writes what the screen exports, in a thread, and says what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envwatch.tui.screens.row_actions import RowActions


async def exported(
    request: RowActions.ExportRequested, export: Callable[[bytes, str], Path], answer: Callable[[str], None]
) -> None:
    """Write a file.

    Args:
        request: what to write.
        export: writes it.
        answer: shows a message.
    """
    answer(f"exporting {request.what}")
    try:
        path = await asyncio.to_thread(lambda: export(request.make(), request.suffix))
    except OSError as error:
        answer(f"cannot export here: {error.strerror}; start envwatch in a folder where you may write")
    else:
        answer(f"exported to {path.name}: {request.what}")
