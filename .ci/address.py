#!/usr/bin/env python3
"""Write the repository's address into this copy: `.ci/address.py https://github.com/OWNER/envwatch v2.0.0`.

A package index shows README.md and `[project.urls]` away from the repository, whose address only the release knows.
Relative links of README.md become links to the tag, and pyproject.toml gets the addresses.
"""

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]

_LINK = re.compile(r"(?P<picture>!?)(?P<text>\[[^][]*\])\((?P<target>[^()\s]+)\)")


def absolute_links(text: str, address: str, tag: str) -> str:
    """Return Markdown whose relative links and pictures lead to the files of a tag; links in the page stay."""

    def absolute(link: re.Match[str]) -> str:
        if urlsplit(link["target"]).scheme or link["target"].startswith("#"):
            return link[0]
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}{link['text']}({address}/{kind}/{tag}/{link['target']})"

    return _LINK.sub(absolute, text)


def urls(address: str, tag: str) -> str:
    """Return the table `[project.urls]`, whose labels package indexes know."""
    by_label = {
        "Homepage": address,
        "Documentation": f"{address}/tree/{tag}/docs",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    return "\n[project.urls]\n" + "".join(f'{label} = "{url}"\n' for label, url in by_label.items())


def main() -> None:
    """Change README.md and pyproject.toml; a second call makes pyproject.toml invalid."""
    if len(sys.argv) != 3 or urlsplit(sys.argv[1]).scheme != "https":
        sys.exit("name the address and the tag: .ci/address.py https://github.com/OWNER/envwatch v2.0.0")
    address, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    readme, project = ROOT / "README.md", ROOT / "pyproject.toml"
    readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), address, tag), encoding="utf-8")
    project.write_text(project.read_text(encoding="utf-8") + urls(address, tag), encoding="utf-8")


if __name__ == "__main__":
    main()
