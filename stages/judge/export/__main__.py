"""Takes a run's model away, and proves that it answers there as it did here: `python -m flows.export RUN FOLDER`.

RUN is what `stages.judge.runs.compare` takes: a folder, a git revision, a DVC experiment, or an MLflow run. Each export
answers the test rows again, and the answers are compared with the pipeline's. FOLDER/export.json has the result. The
exit code is 0 only if every export was compared, and none was found wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.common.errors import ConfigError
from stages.common.files import atomic_folder, write_json
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.judge.export import formats, report
from stages.judge.export.quantised import QUANTISED
from stages.judge.export.taken import taken
from stages.running import program
from stages.running.arguments import Parser
from stages.running.console import say

FORMATS = ("hf", "gguf", "ollama")


def main() -> None:
    """Export, compare, write the report and print it.

    Raises:
        PipelineError: the run cannot be had, or an export may not be called good; what was written is then there.
    """
    options = _arguments()
    target = Path(options.folder).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{options.folder}: expected a new or an empty folder, found one with files", "name another")
    with taken(options.run) as source, atomic_folder(target) as folder:
        say(f"{source.name}: answered again through each export: {counted(len(source.rows), 'test row')}")
        found = formats.export(source, folder, formats.Wanted(options.to, options.quantize, options.license))
        write_json(folder / report.REPORT, found.model_dump())
    print(printable("\n".join([*report.lines(found), f"{'files':<12} {options.folder}"])))
    if (problem := report.problem(found, options.folder)) is not None:
        raise problem


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m flows.export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run, such as . for the results in this folder")
    parser.add_argument("folder", metavar="FOLDER", help="a new folder, which gets the exports and export.json")
    parser.add_argument(
        "--to",
        type=_several(FORMATS),
        default=["hf"],
        metavar="FORMATS",
        help=f"any of {', '.join(FORMATS)}, with commas between them (default: hf)",
    )
    parser.add_argument(
        "--quantize",
        type=_several(QUANTISED),
        default=[],
        metavar="TYPES",
        help=f"GGUF files of fewer bits beside that in fp32: any of {', '.join(QUANTISED)}",
    )
    parser.add_argument("--license", default="", metavar="ID", help="licence that the model card states")
    options = parser.parse_args()
    if options.quantize and options.to == ["hf"]:
        raise ConfigError("--quantize: it is for gguf and ollama, found --to hf alone", "--to gguf")
    return options


def _several(known: tuple[str, ...]) -> formats.ListOf:
    """The type of an argument that is words with commas between them, each of them known."""

    def parse(text: str) -> list[str]:
        words = list(dict.fromkeys(text.split(",")))
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"expected any of {', '.join(known)}, found {unknown[0]!r}")
        return words

    return parse


if __name__ == "__main__":
    program.run("export", main)
