"""Writes each format, and has the test rows answered through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.files import atomic_file, sha256
from stages.common.results.generate import RESPONSES
from stages.judge.export import answers, gguf_file, hf, modelfile, with_ollama
from stages.judge.export.answers import Answerer
from stages.judge.export.optional import need
from stages.judge.export.report import Exported, Report, verdict
from stages.judge.export.scores import score_difference
from stages.judge.export.taken import Taken
from stages.judge.export.with_llama_cpp import LlamaCpp
from stages.judge.export.with_transformers import Transformers

#: The type of an argument that is a list of words.
ListOf = Callable[[str], list[str]]
#: The format of the weights as they were trained.
WHOLE = "f32"


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        formats: any of hf, gguf and ollama.
        quantisations: GGUF files beside that in fp32.
        licence: licence for the model card; empty for none.
    """

    formats: Sequence[str]
    quantisations: Sequence[str]
    licence: str

    @property
    def exports(self) -> list[str]:
        """The names of the exports in the report."""
        kinds = (WHOLE, *self.quantisations)
        files = [f"{name} {kind}" for name in self.formats if name != "hf" for kind in kinds]
        return (["hf"] if "hf" in self.formats else []) + files


def export(source: Taken, folder: Path, wanted: Wanted) -> Report:
    """Write the formats into a folder, and compare each.

    Args:
        source: the run.
        folder: an empty folder.
        wanted: what is asked for.

    Raises:
        ConfigError: a package is missing that writes a format, or a Modelfile cannot hold the prompt style.
    """
    _require(source, wanted)
    responses = sha256(source.root / RESPONSES)  # the scores of exports put others in their place
    model = (folder if "hf" in wanted.formats else source.root) / "hf"
    model.mkdir()
    hf.write(source, model, wanted.licence)
    found = []
    if "hf" in wanted.formats:
        found.append(_compared(source, "hf", folder, model, lambda: nullcontext(Transformers(model))))
    if set(wanted.formats) & {"gguf", "ollama"}:
        for quantisation in (WHOLE, *wanted.quantisations):
            found.append(_gguf(source, folder, model, quantisation))
            if "ollama" in wanted.formats:
                found.append(_ollama(source, folder, quantisation))
    return Report(run=source.name, responses=responses, rows=len(source.rows), exports=found)


def _require(source: Taken, wanted: Wanted) -> None:
    """Refuse what cannot be written, before anything is.

    Raises:
        ConfigError: a package is missing that writes a format, or a Modelfile cannot hold the prompt style.
    """
    if set(wanted.formats) & {"gguf", "ollama"}:
        need("gguf", "an export to gguf")
    if "q4_k_m" in wanted.quantisations:
        need("xllamacpp", "--quantize q4_k_m")
    if "ollama" in wanted.formats:
        _modelfile(source, "model.gguf")


def _modelfile(source: Taken, file: str) -> str:
    context, most = int(source.config["n_positions"]), source.params.generate.max_new_tokens
    return modelfile.text(file, source.style, context=context, max_new_tokens=most)


def _gguf(source: Taken, folder: Path, model: Path, quantisation: str) -> Exported:
    file = _file(folder, quantisation)
    file.parent.mkdir(exist_ok=True)
    gguf_file.write(model, file, quantisation, name="GPT-2 that follows instructions")
    context = int(source.config["n_positions"])
    fewer_bits = quantisation != WHOLE
    named = f"gguf {quantisation}"
    return _compared(source, named, folder, file, lambda: nullcontext(LlamaCpp(file, context)), quantised=fewer_bits)


def _ollama(source: Taken, folder: Path, quantisation: str) -> Exported:
    """A Modelfile beside its GGUF file; Ollama keeps keys and values in fp16, so that answers may differ."""
    file = _file(folder, quantisation)
    target = folder / f"Modelfile-{quantisation}"
    made = _modelfile(source, f"./{file.relative_to(folder).as_posix()}")
    with atomic_file(target) as stream:
        stream.write(made)
    named = f"ollama {quantisation}"
    return _compared(source, named, folder, target, lambda: _asked_by_message(source, target), quantised=True)


def _asked_by_message(source: Taken, target: Path) -> AbstractContextManager[Answerer]:
    if any(row.content is None for row in source.rows):
        what = f"the prompt style {source.style.name}: one message cannot hold a row with an input"
        raise ConfigError(what, "leave ollama out of --to")
    return with_ollama.opened(target)


def _file(folder: Path, quantisation: str) -> Path:
    return folder / "gguf" / f"model-{quantisation}.gguf"


def _compared(
    source: Taken,
    format: str,
    folder: Path,
    path: Path,
    load: Callable[[], AbstractContextManager[Answerer]],
    *,
    quantised: bool = False,
) -> Exported:
    """An export with the answers that come through it, or with the reason why none come.

    Args:
        source: the run.
        format: name of the format.
        folder: folder of the exports.
        path: file or folder of this one.
        load: loads it into the program that answers.
        quantised: whether it has fewer bits than the model.
    """
    files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    written = {
        "format": format,
        "path": path.relative_to(folder).as_posix(),
        "sha256": {file.relative_to(folder).as_posix(): sha256(file) for file in files},
    }
    try:
        with load() as answerer:
            found, how = answers.ask(answerer, source.rows, format), answerer.how
    except (ConfigError, ServiceUnavailable) as error:
        return Exported.model_validate({**written, "verdict": "not compared", "why_not": error.what})
    differing = answers.differences(source.rows, found)
    score = score_difference(source, found) if differing else None
    return Exported.model_validate(
        {
            **written,
            "verdict": verdict(differing, score, quantised=quantised),
            "answered_with": how,
            "rows": len(found),
            "differing": differing,
            "score": score,
        }
    )
