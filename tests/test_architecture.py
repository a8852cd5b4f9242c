"""The import rules of the architecture (docs/architecture.md), read from the syntax trees."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

from stages.running import code_of
from tests.root import ROOT

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
ROOMS = ("common", "params", "running", "gpt2", "prompts")

#: What a package may import of ours. A stage may also import the stages before it.
ALLOWED = {
    "stages.common": ("stages.common",),
    "stages.params": ("stages.common", "stages.params"),
    "stages.running": ("stages.common", "stages.params", "stages.running"),
    "stages.gpt2": ("stages.common", "stages.gpt2"),
    "stages.prompts": ("stages.common", "stages.gpt2", "stages.prompts"),
    **{
        f"stages.{stage}": tuple(f"stages.{name}" for name in (*ROOMS, *STAGES[: position + 1]))
        for position, stage in enumerate(STAGES)
    },
    # stages.judge.runs compares runs, and is no part of a stage.
    "flows": ("flows", "stages.common", "stages.params", "stages.running", "stages.judge.runs"),
}

#: Packages of others that only some files and folders may import.
RESTRICTED = {
    "mlflow": ("stages/running/tracking", "flows"),
    "tqdm": ("stages/running/console.py",),
    "psutil": ("stages/running", "stages/finetune/costs", "flows"),
    "numpy": (
        *("stages/judge", "stages/split", "stages/common/token_files.py"),
        *("stages/prompts/encoding.py", "stages/gpt2/tokenizer.py"),
    ),
    "scipy": ("stages/judge/scores",),
    "sacrebleu": ("stages/common/texts.py",),
    "rapidfuzz": tuple(f"stages/judge/judges/{name}.py" for name in ("equivalents", "sentences", "subjects")),
    "prefect": ("flows",),
    "torch": (
        "stages/gpt2",
        "stages/finetune",
        "stages/generate",
        "stages/running/run_key.py",
    ),
    "safetensors": ("stages/gpt2/weights.py", "stages/finetune/checkpoint.py", "stages/finetune/lora.py"),
    "pandas": ("stages/split",),
    "pyarrow": (
        "stages/download/formats/decoded.py",
        "stages/download/formats/tables.py",
        "stages/common/token_files.py",
    ),
    "py3langid": ("stages/split/checks/languages.py",),
    "tiktoken": ("stages/gpt2/tokenizer.py",),
    "huggingface_hub": (
        "stages/download/hub.py",
        "stages/judge/export/hub_repository.py",
        "stages/running/hub_client.py",
    ),
    "requests": ("stages/download", "stages/judge/judges"),
    "dvc": (),
    "transformers": (),
}

#: The most lines of a stage's program: it is a table of contents.
PROGRAM_LINES = 60

#: Programs of ours that are no part of the pipeline.
TOOLS = ("benchmarks", "tools", "assets")
#: Imports inside a function that have a reason, by file: a peer's package need not be installed.
DEFERRED = {
    "benchmarks/answering.py": {"benchmarks.book.of"},
    "flows/supervised.py": {"flows.flow_process"},
}


def modules(*parts: str) -> list[Path]:
    return sorted(path for part in parts or ("stages", "flows") for path in (ROOT / part).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "flows" if parts[0] == "flows" else ".".join(parts[:2]).removesuffix(".py")


def import_statements(tree: ast.AST) -> Iterator[tuple[ast.stmt, set[str]]]:
    """Every import statement and the dotted names in it; ``from a import b`` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node, {f"{node.module}.{alias.name}" for alias in node.names}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return set().union(*(names for _, names in import_statements(tree)))


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_of_ours_are_allowed(path):
    if path == ROOT / "stages" / "__init__.py":
        allowed: tuple[str, ...] = ()
    else:
        allowed = ALLOWED[package_of(path)]
    ours = {name for name in imported(path) if within(name, ("stages", "flows", "tests", *TOOLS))}

    assert {name for name in ours if not within(name, allowed)} == set()


def test_no_module_imports_itself_by_way_of_others():
    graph = {path: code_of.imports(path) - {path} for path in modules("stages", "flows", *TOOLS)}

    assert circles(graph) == []


def circles(graph: Mapping[Path, Set[Path]]) -> list[list[str]]:
    """The groups of modules each of which reaches every other of its group (Tarjan 1972)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[list[str]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, frozenset()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(map(str, group)))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_a_circle_is_found():
    a, b, c = Path("a"), Path("b"), Path("c")

    assert circles({a: {b}, b: {c}, c: {b}}) == [["b", "c"]]


@pytest.mark.parametrize("path", modules("stages", "flows", *TOOLS), ids=relative)
def test_imports_of_ours_stand_at_the_top(path):
    """But for the door behind the GPU lease: a program takes the lease, then imports its job, which imports torch.

    And a flow's program turns the garbage collector off, then imports Prefect.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        name
        for node, names in import_statements(tree)
        if node not in tree.body and within(next(iter(names)), ("stages", "flows", *TOOLS))
        for name in names
    }
    stage = path.parent.name if path.name == "__main__.py" else None

    assert inside - {f"stages.{stage}.job"} == DEFERRED.get(relative(path), set())


def loaded_by(path: Path) -> set[Path]:
    """The modules of ours that are loaded with a module: those that it, and they in turn, import at the top."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            for _, names in import_statements(ast.Module([node], [])) if isinstance(node, IMPORTS) else ():
                waiting += {file for name in names for file in code_of.files_of(name)}
    return found


IMPORTS = (ast.Import, ast.ImportFrom)


@pytest.mark.parametrize(
    "program",
    [
        *("stages/download/__main__.py", "stages/split/__main__.py", "stages/tokenize/__main__.py"),
        *("stages/judge/job.py", "flows/run.py"),
        # torch looks for GPUs when it is imported, so that the lease comes first.
        *("stages/finetune/__main__.py", "stages/generate/__main__.py"),
    ],
)
def test_these_programs_load_no_torch(program):
    loads = {relative(path) for path in loaded_by(ROOT / program) if "torch" in map(root_of, imported(path))}

    assert loads == set()


def test_a_job_loads_torch_behind_the_lease():
    assert ROOT / "stages/gpt2/model.py" in loaded_by(ROOT / "stages/finetune/job.py")


def root_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_s_program_is_short(stage):
    lines = (ROOT / "stages" / stage / "__main__.py").read_text(encoding="utf-8").splitlines()

    assert len(lines) <= PROGRAM_LINES


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_of_others_are_where_they_belong(path):
    names = imported(path)
    wrong = {
        package
        for package, allowed in RESTRICTED.items()
        if any(within(name, (package,)) for name in names) and not relative(path).startswith(allowed)
    }

    assert wrong == set()


def test_restricted_packages_are_allowed_only_where_there_is_something():
    assert [name for allowed in RESTRICTED.values() for name in allowed if not (ROOT / name).exists()] == []


def test_only_what_runs_a_stage_writes_to_the_terminal():
    """A stage speaks through `stages.running.console`, which knows of progress bars and of other processes.

    Programs for a person at the terminal speak themselves.
    """
    runs = {f"stages/judge/runs/{name}.py" for name in ("compare", "spread", "versus")}
    programs = {"generate/conversation.py", "judge/rescore.py", "judge/export/__main__.py", "tokenize/show.py"}
    at_the_terminal = {*(f"stages/{name}" for name in programs), *runs}
    printing = {
        relative(path)
        for path in modules("stages")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    printing -= {"stages/__init__.py"}  # which refuses a bare Python

    assert {name for name in printing if not name.startswith("stages/running/")} <= at_the_terminal


def test_what_is_imported_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {canonical(re.match(r"[\w.-]+", entry)[0]) for entry in declared}
    distributions = importlib.metadata.packages_distributions()
    others = {name.split(".")[0] for path in modules() for name in imported(path)}
    others -= {*sys.stdlib_module_names, "stages", "flows"}

    assert {"torch", "ruamel", "urllib3"} <= others
    assert [name for name in sorted(others) if not names & set(map(canonical, distributions[name]))] == []


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_there_is_a_folder_for_every_stage_and_no_file_beside_them():
    folders = {path.name for path in (ROOT / "stages").iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders == {*ROOMS, *STAGES}
    assert [path.name for path in (ROOT / "stages").glob("*.py")] == ["__init__.py"]


def test_a_stage_depends_on_its_own_section_of_the_schema_and_on_those_it_reads():
    of_another = {"split": {"stages/params/tokenize.py"}}  # whose checks find rows that are longer than the context
    for stage in STAGES:
        files = {relative(path) for path in code_of.code_of(stage) if relative(path).startswith("stages/params/")}
        own = {"stages/params/section.py", f"stages/params/{stage}.py"}
        assert files == own | of_another.get(stage, set()), stage


def test_programs_beside_a_stage_are_no_part_of_it():
    beside = ("stages/judge/report/", "stages/judge/export/", "stages/judge/runs/")
    assert (ROOT / "stages/judge/report/page.css").exists(), "their data are none of the stage's either"

    assert [path for stage in STAGES for path in code_of.code_of(stage) if relative(path).startswith(beside)] == []


def test_a_package_s_init_holds_a_docstring_alone():
    for path in (ROOT / "stages").rglob("__init__.py"):
        if path.parent.name == "stages":  # which refuses a bare Python
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
        assert isinstance(body[0].value, ast.Constant), path


@pytest.mark.parametrize("folder", ["flows", *TOOLS])
def test_no_module_beside_a_program_has_the_name_of_one_of_the_standard_library(folder):
    """A program that is run by its path finds its neighbours first: a neighbour profile.py hides the library's."""
    names = {path.stem for path in (ROOT / folder).rglob("*.py")}

    assert names & set(sys.stdlib_module_names) == set()


def test_pickle_is_never_read_or_written():
    for path in modules():
        assert not any(within(name, ("pickle", "joblib", "dill", "shelve")) for name in imported(path)), path
        assert "torch.load(" not in path.read_text(encoding="utf-8"), path


def test_a_python_without_the_packages_is_told_how_to_get_them():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stages.judge"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 78
    assert "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr
