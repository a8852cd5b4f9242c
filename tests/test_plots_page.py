"""The page of `dvc plots`: Vega is in it, as npm has it, and nothing is loaded over the network."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.common.results.finetune import LOSS_CSV
from stages.common.results.judge import SCORES_CSV
from tests.root import ROOT
from tools import plots_page

PAGE = ROOT / plots_page.PAGE
TEMPLATES = ROOT / ".dvc" / "plots"


def scripts() -> list[str]:
    return re.findall(r"<script>(.*?)</script>", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_scripts_of_the_page_are_those_that_were_checked():
    found = [hashlib.sha256(script.encode()).hexdigest() for script in scripts()]

    assert found == list(plots_page.PACKAGES.values())


def test_without_its_scripts_the_page_is_what_the_tool_writes():
    text = PAGE.read_text(encoding="utf-8")
    licence = text.split("licence that follows.\n", 1)[1].split("\n-->", 1)[0]

    assert plots_page.page(scripts(), licence) == text
    assert "Redistributions in binary form must reproduce the above copyright notice" in licence


def test_the_page_loads_nothing_and_has_dvc_s_places():
    text = re.sub(r"<script>.*?</script>", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text, "what rows hold can load and send nothing"
    assert "src=" not in text
    assert text.count("{plot_divs}") == 1
    assert "{refresh_tag}" in text
    assert "{scripts}" not in text, "DVC would put the addresses of its own there"


def test_every_template_that_dvc_yaml_names_is_there():
    tree = YAML(typ="safe").load(ROOT / "dvc.yaml")
    listed = [*tree["stages"]["judge"]["plots"], *tree["plots"]]
    named = {options["template"] for plot in listed if isinstance(plot, dict) for options in plot.values()}

    assert named == {path.stem for path in TEMPLATES.glob("*.json")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of DVC with both tables, in which not every row has every value."""
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    shutil.copytree(ROOT / ".dvc" / "plots", tmp_path / ".dvc" / "plots")
    for name in (".dvc/config", ".dvc/plots.html"):
        shutil.copy(ROOT / name, tmp_path / name)
    tree = YAML(typ="safe").load(ROOT / "dvc.yaml")
    (scores,) = (plot for plot in tree["stages"]["judge"]["plots"] if isinstance(plot, dict))
    YAML().dump({"plots": [scores, *tree["plots"]]}, tmp_path / "dvc.yaml")
    tables = {
        LOSS_CSV: "step,train_loss,val_loss\n0,,8.0\n1,7.5,\n2,7.0,2.5\n",
        SCORES_CSV: "id,category,tuned,base\na,facts,100.0,0.0\nb,facts,,0.0\n",
    }
    for path, text in tables.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def dvc(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", "plots", "show", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout


@pytest.mark.thorough
def test_dvc_plots_makes_a_page_that_needs_no_network(project: Path):
    dvc(project)
    made = (project / "dvc_plots" / "index.html").read_text(encoding="utf-8")

    assert made.count("vegaEmbed('#") == 2
    assert made.count("</script>") == 2 + len(plots_page.PACKAGES)
    around = re.sub(r"<script>.*?</script>", "", made, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)\s*=", around) == []


@pytest.mark.thorough
def test_a_value_that_is_missing_is_left_out_and_drawn_as_no_other(project: Path):
    losses = json.loads(dvc(project, "loss", "--show-vega"))
    scores = json.loads(dvc(project, str(SCORES_CSV), "--show-vega"))

    assert losses["transform"] == [
        {"filter": "isValid(datum['dvc_inferred_y_value']) && datum['dvc_inferred_y_value'] !== ''"}
    ]
    assert scores["transform"][0] == {"filter": "isValid(datum['tuned']) && datum['tuned'] !== ''"}
    assert scores["encoding"]["x"]["scale"] == {"domain": [0, 100]}
