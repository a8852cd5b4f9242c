"""Takes a run's model away, and proves that it answers there as it did here: `python -m flows.export RUN FOLDER`.

RUN is what `stages.judge.runs.compare` takes: a folder, a git revision, a DVC experiment, or an MLflow run. Each export
answers the test rows again, and the answers are compared with the pipeline's. FOLDER/export.json has the result. The
exit code is 0 only if every export was compared, and none was found wrong. Then alone --push uploads FOLDER/hf.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.common.errors import ConfigError
from stages.common.files import atomic_folder, sha256, write_json
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.results.generate import RESPONSES
from stages.judge.export import earlier, formats, report
from stages.judge.export.push import Push
from stages.judge.export.quantised import QUANTISED
from stages.judge.export.report import Report
from stages.judge.export.taken import taken
from stages.running import program
from stages.running.arguments import Parser
from stages.running.console import say

FORMATS = ("hf", "gguf", "ollama")


def main() -> None:
    """Export, compare, write the report and print it; push what was found good, if that is asked for.

    Raises:
        PipelineError: the run cannot be had, or an export may not be called good; what was written is then there.
    """
    options = _arguments()
    push = Push(options.push, public=options.public, replace=options.replace) if options.push else None
    target = Path(options.folder).absolute()
    if push is not None and (target / report.REPORT).is_file():
        found = _exported_before(options, target)
    else:
        found = _export(options, target)
    print(printable("\n".join([*report.lines(found), f"{'files':<12} {options.folder}"])), flush=True)
    if (problem := report.problem(found, options.folder)) is not None:
        raise problem
    if push is not None:
        print(printable(f"{'pushed':<12} {push.push(target / 'hf', found)}"))


def _export(options: argparse.Namespace, target: Path) -> Report:
    """Write the exports into a new folder, and compare them."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{options.folder}: expected a new or an empty folder, found one with files", "name another")
    with taken(options.run) as source, atomic_folder(target) as folder:
        say(f"{source.name}: answered again through each export: {counted(len(source.rows), 'test row')}")
        found = formats.export(source, folder, _wanted(options))
        write_json(folder / report.REPORT, found.model_dump())
    return found


def _exported_before(options: argparse.Namespace, target: Path) -> Report:
    """The report of a folder that holds the export that is asked for, as it was compared.

    Raises:
        ConfigError: it is an export of another run, to other formats or with another licence.
        DataError: files were changed since, or its export.json is broken.
    """
    found = report.read(target / report.REPORT)
    earlier.require(found, target, _wanted(options), options.folder)
    with taken(options.run) as source:
        if sha256(source.root / RESPONSES) != found.responses:
            what = f"{options.folder}: expected an export of {options.run}, found one of other answers ({found.run})"
            raise ConfigError(what, "name a new folder")
    say(f"{options.folder}: exported and compared before")
    return found


def _wanted(options: argparse.Namespace) -> formats.Wanted:
    return formats.Wanted(options.to, options.quantize, options.license)


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
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="push FOLDER/hf to this model repository of the Hugging Face hub, once it is compared and found good; "
        "the token is that of HF_TOKEN or of `hf auth login`. A FOLDER that was exported before is not exported again",
    )
    parser.add_argument("--public", action="store_true", help="a new repository is public (default: private)")
    parser.add_argument(
        "--replace", action="store_true", help="replace what the repository holds, in a new commit; earlier ones stay"
    )
    options = parser.parse_args()
    if options.push is None and (options.public or options.replace):
        raise ConfigError("--public, --replace: they are of --push, which is not there", "--push OWNER/NAME")
    if options.push is not None and "hf" not in options.to:
        raise ConfigError(f"--push: it is for hf, found --to {','.join(options.to)}", "--to hf,gguf")
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
