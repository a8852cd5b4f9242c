"""Makes .dvc/plots.html, the page of `dvc plots` that needs no network: `python -m tools.plots_page`.

DVC's own page loads Vega from a server at each look. Here Vega is in the page itself, which `plots.html_template` of
.dvc/config names. The three files are taken from npm by its client, and are checked. DVC 3.67 fills the page in: it
puts its plots in the place of ``{plot_divs}``, with texts of the rows as they are. A policy keeps what these may hold
from sending or loading anything.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

from stages.common.errors import DataError, ServiceUnavailable
from stages.common.files import atomic_file
from stages.running import program, temporary
from stages.running.arguments import Parser
from stages.running.console import say

PAGE = Path(".dvc/plots.html")

#: The packages of npm, in the order in which they are needed, and the SHA-256 of the file that is taken of each.
#: DVC's plots are of Vega-Lite 5.
PACKAGES = {
    "vega@5.33.1": "463f3db6a40b20e9747b4ed38f37ed0add508838f9141b1cf8366784b07b30c8",
    "vega-lite@5.23.0": "58c27358e26f2d319cf62f45bc17a4c8362f08645001df2ec8d341eee4097c7f",
    "vega-embed@6.29.0": "12d02acfbe3ec59ef9a37dd4822a2e04e2961b5bbb671bbe661d2221715b99da",
}

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval';
 style-src 'unsafe-inline'; img-src 'self' data: blob: file:; base-uri 'none'; form-action 'none'">
{refresh_tag}
<title>DVC plots</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 1.5rem; color: #1d2330; background: #fff; }
table { border-spacing: 15px; } img { max-width: 100%; }
</style>
<!-- Made by tools/plots_page.py. Vega, Vega-Lite and Vega-Embed are under the licence that follows.
LICENCE
-->
"""
_TAIL = """</head>
<body>
{plot_divs}
</body>
</html>
"""
_AGAIN = "python -m tools.plots_page, where npm is installed"


def main() -> None:
    """Write the page.

    Raises:
        ServiceUnavailable: npm is missing, or does not give the packages.
        DataError: a file is another one than was checked.
    """
    Parser(prog="python -m tools.plots_page", description=__doc__).parse_args()
    with temporary.folder() as folder:
        found = [_packed(name, folder) for name in PACKAGES]
    scripts = [script for script, _ in found]
    for (name, digest), script in zip(PACKAGES.items(), scripts, strict=True):
        if hashlib.sha256(script.encode()).hexdigest() != digest:
            raise DataError(f"npm: {name}: another file than that of {digest[:12]}", "look at it, and change PACKAGES")
    with atomic_file(PAGE) as stream:
        stream.write(page(scripts, next(licence for _, licence in found if licence)))
    say(f"{PAGE}: written")


def page(scripts: list[str], licence: str) -> str:
    """The page with some scripts in it; each is one whole element, so that its digest can be checked.

    Args:
        scripts: texts of the scripts.
        licence: text of their licence.
    """
    elements = "".join(f"<script>{script}</script>\n" for script in scripts)
    return f"{_HEAD.replace('LICENCE', licence.strip())}{elements}{_TAIL}"


def _packed(name: str, folder: Path) -> tuple[str, str]:
    """The script for browsers and the licence of a package; an empty text where it has none."""
    try:
        command = ["npm", "pack", "--silent", name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServiceUnavailable(f"npm: {name} cannot be had: {error}", _AGAIN) from None
    own = name.rpartition("@")[0]
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
        return _text(archive, f"package/build/{own}.min.js"), _text(archive, "package/LICENSE")


def _text(archive: tarfile.TarFile, name: str) -> str:
    found = archive.extractfile(name) if name in archive.getnames() else None
    return "" if found is None else found.read().decode()


if __name__ == "__main__":
    program.run("plots page", main)
