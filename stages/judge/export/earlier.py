"""An export that is in its folder already: whether it is what a later command asks for."""

from __future__ import annotations

import json
from pathlib import Path

from stages.common.errors import ConfigError, DataError
from stages.finetune import card
from stages.judge.export import report
from stages.judge.export.formats import Wanted
from stages.judge.export.report import Report

_NEW = "name a new folder, which gets a new export"


def require(found: Report, folder: Path, wanted: Wanted, name: str) -> None:
    """Refuse an export that lacks what is asked for, states another licence, or was changed since it was compared.

    It may have more than is asked for. Where no licence is asked for, that of the export stays.

    Args:
        found: its report.
        folder: its folder.
        wanted: what is asked for; with hf.
        name: name of the folder in messages.

    Raises:
        ConfigError: an export is missing, or the card states another licence.
        DataError: a file was changed since, or is missing.
    """
    there = [one.format for one in found.exports]
    if lacking := [one for one in wanted.exports if one not in there]:
        what = f"{name}: expected an export to {', '.join(lacking)}, found {', '.join(there)} alone"
        raise ConfigError(what, f"leave it out of --to and --quantize, or {_NEW}")
    if changed := report.changed(found, folder):
        what = f"{name}: {changed[0]}: expected the file that was compared, found another or none"
        raise DataError(what, _NEW)
    stated = licence(folder / "hf" / card.CARD)
    if wanted.licence and wanted.licence != stated:
        what = f"{name}: hf/{card.CARD}: expected the licence of --license {wanted.licence}, found {stated or 'none'}"
        keep = f"--license {stated}" if stated else "leave out --license"
        raise ConfigError(what, f"{keep}; or {_NEW}")


def licence(file: Path) -> str:
    """The licence that an exported model card states in its metadata; empty where it states none."""
    _, front, _ = file.read_text(encoding="utf-8").split("---\n", maxsplit=2)
    lines = (line.partition(": ") for line in front.splitlines())
    return next((str(json.loads(value)) for key, _, value in lines if key == "license"), "")
