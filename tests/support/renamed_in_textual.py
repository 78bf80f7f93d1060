"""envwatch on a Textual with one renamed name: `python renamed_in_textual.py NAME ARGUMENT …`. NAME may be a module.

Textual still works, as after a release with a consistent rename.
"""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType


class _Renamed(SourceFileLoader):
    pattern: re.Pattern[str]

    def get_code(self, fullname: str) -> CodeType:
        source = self.pattern.sub(lambda match: f"{match[0]}_later", self.get_source(fullname) or "")
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds Textual's modules with the new name, and hides the old name."""

    def find_spec(self, fullname: str, path: Any = None, _: Any = None) -> ModuleSpec | None:
        if not fullname.startswith("textual"):
            return None
        package, _, module = fullname.rpartition(".")
        if _Renamed.pattern.fullmatch(module):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        spec = PathFinder.find_spec(f"{package}.{module.removesuffix('_later')}".removeprefix("."), path)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        spec.loader = _Renamed(fullname, spec.loader.path)
        spec.name = fullname
        return spec


def main() -> int:
    _Renamed.pattern = re.compile(rf"(?<!\w){sys.argv.pop(1)}(?!\w)")
    sys.meta_path.insert(0, _Finder())
    from envwatch.cli.main import main as envwatch  # noqa: PLC0415  after the finder

    return envwatch()


if __name__ == "__main__":
    sys.exit(main())
