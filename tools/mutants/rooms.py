"""The code whose tests are tested, and which tests reach it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: The rooms: a folder stands for all modules in it.
ROOMS = (
    "stages/judge/scores/",
    "stages/finetune/loss.py",
    "stages/gpt2/decoding.py",
    "stages/split/",
    "stages/judge/judges/transport.py",
    "stages/finetune/progress.py",
    "stages/gpt2/sampling.py",
)
#: The share of mutants that the tests have to kill, in each room.
LEAST_KILLED = 0.9

#: The tests of a module that are not in the file with its name.
TESTS = {
    "stages/gpt2/decoding.py": ["tests/gpt2/test_decoding.py", "tests/gpt2/test_prompt_lookup.py"],
    "stages/split/__main__.py": ["tests/split/test_stage.py"],
}


def modules(room: str) -> list[str]:
    """The modules of a room, relative to the repository."""
    found = (ROOT / room).glob("*.py") if room.endswith("/") else [ROOT / room]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py")


def tests_of(module: str) -> list[str]:
    """The test files that a module's mutants are tried with, relative to the repository."""
    path = Path(module)
    own = Path("tests", *path.parts[1:-1], f"test_{path.stem}.py")
    return TESTS.get(module, [own.as_posix()])
