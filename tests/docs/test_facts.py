"""What the documentation says of the code is so: files, keys, exit codes, variables, rubrics, faults, labels."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from stages.common import errors
from stages.judge.scores import faults
from stages.params import whole
from stages.running import code_of
from tests.docs import pages, summaries
from tests.root import ROOT

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")

#: Variables that libraries read, and none of our code: the documentation names those that a user needs.
OF_LIBRARIES = {
    *("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "MLFLOW_TRACKING_USERNAME"),
}
#: Variables that our code gives to one process that it starts, or DVC to a stage, and that nobody can set.
GIVEN = {
    *("CUDA_DEVICE_ORDER", "DVC_STAGE", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "PREFECT_UI_API_URL"),
    *("MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"),
}
_VARIABLE = re.compile(
    r"(?:PIPELINE|OLLAMA|OPENAI|MLFLOW|PREFECT|HF|CUDA|CUBLAS|DVC|DO|OMP|GOMP|THP|GLOO|NCCL|TORCHINDUCTOR)_[A-Z_]*[A-Z]"
    "|TMPDIR"
)
#: Errors of cuBLAS and the like, which look like variables.
_NO_VARIABLE = re.compile(r"_STATUS_")


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    section = pages.text(page).split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = re.search(r"(?:^\|.*\n?)+", section, flags=re.MULTILINE)
    assert lines is not None, f"{page}: no table under {heading}"
    return [[cell.strip() for cell in line.strip("|\n").split(" |")] for line in lines[0].strip().splitlines()[2:]]


def in_backticks(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def strings_of_the_code() -> set[str]:
    found = set()
    for path in [path for folder in ("stages", "flows", "tools") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("page", pages.GUIDES)
def test_files_that_are_named_exist(page):
    for name in pages.inline(page):
        if re.fullmatch(r"(?:stages|flows|profiles|docs|assets|tests|tools|benchmarks)/[\w./-]*", name):
            name = name.removesuffix("NAME/")  # stages/NAME/ stands for any of them
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_pages_that_the_code_names_exist():
    folders = [ROOT / name for name in ("stages", "flows", "tools", "benchmarks", "profiles")]
    files = [path for folder in folders for path in folder.rglob("*.*") if path.suffix in (".py", ".yaml")]
    for path in [*files, ROOT / "Makefile", ROOT / "params.yaml", ROOT / "dvc.yaml", ROOT / "pyproject.toml"]:
        for name in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("page", pages.GUIDES)
def test_keys_that_are_named_exist(page):
    known = whole.known_keys()
    for name in pages.inline(page):
        if found := re.fullmatch(rf"((?:{'|'.join(STAGES)})\.[a-z_.0-9]+)(: .*)?", name):
            assert found[1] in known or found[1].endswith((".json", ".yaml")), f"{page}: {name}"


@pytest.mark.parametrize("page", pages.GUIDES)
def test_results_that_are_named_are_outputs(page):
    written = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    for name in pages.inline(page):
        if re.fullmatch(r"artifacts/\w+/[\w.-]+(/adapter)?", name):
            # What is in an output that is a folder is under it; metrics.json of split and tokenize are outputs too.
            assert name.removesuffix("/adapter") in written, f"{page}: {name}"


def test_names_in_the_how_to_tables_are_in_the_files_beside_them():
    """A row such as | `stages/prompts/prompt.py` | the style, in `STYLES` | names what is there."""
    section = pages.text("docs/architecture.md").split("\n## How to add\n", 1)[1]
    rows = re.findall(r"^\| `([\w./-]+\.(?:py|yaml))` \| (.+) \|$", section, flags=re.MULTILINE)

    assert len(rows) > 10
    for file, change in rows:
        source = (ROOT / file).read_text(encoding="utf-8")
        for word in in_backticks(change):
            if "/" not in word:
                assert word.split(".")[-1] in source, f"{file} has no {word}"


def test_the_exit_codes_are_those_of_the_errors():
    rows = table("docs/troubleshooting.md", "Exit codes")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]

    # 1 is the answer of a check that was asked for, and 137 is a second SIGKILL.
    assert {int(row[0]) for row in rows} == {0, 1, 137} | {kind.exit_code for kind in kinds}
    words = " ".join(pages.text("docs/troubleshooting.md").split())
    retried = re.search(r"The flow retries (\d+) and (\d+), and no other", words)
    assert retried
    assert {int(code) for code in retried.groups()} == errors.RETRYABLE_EXIT_CODES


def test_the_environment_variables_are_those_of_the_code():
    page = "docs/environment.md"
    headings = ("Yours to set", "Set by the pipeline for its own processes", "Defaults that differ from the tools' own")
    named = [name for heading in headings for row in table(page, heading) for name in in_backticks(row[0])]
    code = {text for text in strings_of_the_code() if _VARIABLE.fullmatch(text) and not _NO_VARIABLE.search(text)}

    assert len(named) == len(set(named))
    assert set(named) - OF_LIBRARIES == code - GIVEN


@pytest.mark.parametrize("page", pages.GUIDES)
def test_a_variable_that_is_named_is_in_the_table(page):
    known = {*pages.inline("docs/environment.md"), "OLLAMA_NUM_PARALLEL"}
    for name in pages.inline(page):
        if found := re.match(rf"({_VARIABLE.pattern})(=\S*)?$", name):
            assert found[1] in known, f"{page}: {name}"


def test_the_defaults_of_the_seconds_are_those_of_the_code():
    rows = {row[0].strip("`"): row[2] for row in table("docs/environment.md", "Yours to set")}
    told = {name: float(default) for name, default in rows.items() if name.endswith(("_SECONDS", "_INTERVAL"))}

    assert defaults_of_seconds() == {name: {default} for name, default in told.items()}


def defaults_of_seconds() -> dict[str, set[float]]:
    """The defaults in the calls of `environment.seconds`, by the name of the variable.

    A default is a number, or a name that is given a number in the same module.
    """
    found: dict[str, set[float]] = {}
    for path in [path for folder in ("stages", "flows") for path in (ROOT / folder).rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            ast.unparse(node.targets[0]): ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("environment.seconds", "seconds"):
                name, default = (ast.unparse(argument) for argument in node.args)
                found.setdefault(ast.literal_eval(name), set()).add(float(constants.get(default, default)))
    return found


def test_the_judges_and_the_rubrics_are_those_of_the_code():
    files = {path.stem for path in (ROOT / "stages" / "judge").rglob("rubrics/*.json")}

    named = {name for row in table("docs/judge.md", "Which judge") for name in in_backticks(row[0])}
    assert named == set(backends())
    assert files <= set(pages.inline("docs/judge.md"))


def backends() -> tuple[str, ...]:
    found: tuple[str, ...] = whole.Params.model_fields["judge"].annotation.model_fields["backend"].annotation.__args__
    return found


def test_the_faults_are_those_of_the_code():
    named = {name for row in table("docs/judge.md", "Faults") for name in row[0].split(", ")}
    source = Path(faults.__file__).read_text(encoding="utf-8")

    assert all(f'"{name}"' in source for name in named)
    assert {"empty", faults.WRONG_BUT_FLUENT} | set(re.findall(r'"([a-z ]+)": lambda', source)) == named


def test_the_wall_is_that_of_the_code():
    page = pages.text("docs/architecture.md").split("\n## The walls\n", 1)[1].split("\n## ", 1)[0]

    for folder in code_of.NO_INFLUENCE:
        assert f"`{folder}`" in page


def test_every_label_of_the_summary_is_explained():
    """Those of the page's whole summary; `test_walk` compares them with a summary that a run has printed."""
    whole_one = summaries.labels(summaries.sample("docs/summary.md"))

    assert len(whole_one) > 20
    assert whole_one <= summaries.explained()
    assert summaries.labels(summaries.sample("README.md")) <= whole_one


def test_chapter_7_names_what_the_files_have():
    """A cell such as `stages/finetune/batches.py`, `epoch_order` names a function of that file."""
    for row in re.findall(r"^\|.*\|$", pages.text("docs/chapter-7.md"), flags=re.MULTILINE):
        for cell in row.split("|"):
            if found := re.fullmatch(r" `(stages/[\w/]+\.py)`, `(\w+)` ", cell):
                assert re.search(rf"\b(def|class) {found[2]}\b", (ROOT / found[1]).read_text(encoding="utf-8")), cell


def test_the_changelog_s_newest_release_is_the_package_s_version():
    released = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", pages.text("CHANGELOG.md"), flags=re.MULTILINE)

    assert "## [Unreleased]" in pages.text("CHANGELOG.md")
    assert released[0][0] == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert [date for _, date in released] == sorted((date for _, date in released), reverse=True)


def test_the_console_scripts_are_those_of_the_package():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]

    assert {name for name in pages.inline("README.md") if name.startswith("instruct-pipeline")} == set(scripts)


def test_make_help_lists_every_target_that_the_documentation_names():
    done = subprocess.run(["make", "help"], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    named = {
        found[1] for page in pages.GUIDES for one in pages.inline(page) if (found := re.match(r"make ([a-z-]+)", one))
    }

    assert named - {"help"} <= set(re.findall(r"^  make ([a-z-]+)", done.stdout, flags=re.MULTILINE))
