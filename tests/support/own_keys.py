"""User-defined keys for actions without a default key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWN_KEYS = {
    "sort.left": "comma",
    "sort.right": "full_stop",
    "sort.invert": "I",
    "sort.fold_all": "X",
    "machine.pane": "v",
    "poll.slower": "plus",
    "poll.faster": "minus",
    "app.bell": "B",
    "app.times": "t",
    "baseline.mark": "m",
    "baseline.compare": "equals_sign",
    "machine.copy_name": "c",
    "history.back": "left_square_bracket",
    "history.forward": "right_square_bracket",
}


def own_keys(home: Path) -> dict[str, str]:
    path = home / "own_keys.toml"
    lines = (f"{id_} = '{key}'\n" for id_, key in OWN_KEYS.items())
    path.write_text(f"[keys]\n{''.join(lines)}", encoding="utf-8")
    return {"ENVWATCH_CONFIG": str(path)}
