"""The forms of the deployments `experiment` and `seeds`: a field for each value of params.yaml.

They are JSON schemas for Prefect's pages.

A field says what params.yaml says of the value, and the value that the last commit has. None has a default: what is
left alone is not sent, and stays as it is. `flows.overrides` reads what the form sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from flows.overrides import ANSWERS, offered
from stages.common import paths
from stages.common.errors import PipelineError
from stages.params import whole
from stages.running import git
from stages.running.committed import tree_of

Schema = dict[str, Any]

#: The values that people change, in the order of the form. They come before the sections with the others.
FIRST = (
    "finetune.epochs",
    "finetune.learning_rate",
    "finetune.batch_size",
    "finetune.max_steps",
    "finetune.seed",
    "tokenize.prompt_style",
    "tokenize.loss_on",
    "generate.temperature",
    "judge.backend",
    "judge.model",
)

#: Titles that do not follow from the key.
_TITLES = {
    "profile": "MLflow experiment",
    "download": "More of the data and the model",
    "download.data.clean": "Empty placeholders",
    "download.data.fields": "Keys of the fields",
    "download.data.on_invalid": "Rows that cannot be used",
    "download.data.placeholder_answers": "Placeholders as answers",
    "download.data.mix_seed": "Seed of a mix",
    "download.data.sha256": "SHA-256 of the data",
    "download.data.source": "Data source",
    "download.data.sources": "Sources of a mix",
    "download.model.weights": "Weights to start from",
    "download.model.n_layer": "Transformer blocks",
    "download.model.n_head": "Attention heads",
    "download.model.n_embd": "Embedding width",
    "download.model.n_positions": "Longest sequence in tokens",
    "download.model.repo": "Repository or folder",
    "download.model.sha256": "SHA-256 of model.safetensors",
    "download.model.config_sha256": "SHA-256 of config.json",
    "download.tokenizer.source": "Source of the tokenizer",
    "split": "The split",
    "split.train": "Share of train rows",
    "split.test": "Share of test rows",
    "split.checks": "Rows allowed of each finding",
    "split.checks.api_keys": "API keys",
    "split.checks.ibans": "IBANs",
    "split.checks.emails": "E-mail addresses",
    "split.checks.phones": "Telephone numbers",
    "tokenize": "More of the tokenization",
    "tokenize.context_length": "Context length in tokens",
    "tokenize.loss_on": "Loss over",
    "finetune": "More of the training",
    "finetune.accumulate": "Gradient accumulation",
    "finetune.decay": "Weight decay on",
    "finetune.schedule": "Learning rate schedule",
    "finetune.clip_norm": "Gradient clipping",
    "finetune.lora": "LoRA",
    "finetune.devices": "World size",
    "finetune.parallel": "Parallelism",
    "finetune.eval_every": "Steps between evaluations",
    "finetune.patience": "Patience of early stopping",
    "finetune.seed": "Seed of the training",
    "generate": "More of the answers",
    "generate.models": "Models that answer",
    "generate.max_new_tokens": "Longest answer in tokens",
    "generate.temperature": "Temperature of the answers",
    "generate.top_k": "Top-k",
    "generate.top_p": "Top-p",
    "judge": "More of the judge",
    "judge.backend": "Judge",
    "judge.model": "Model of the judge",
    "judge.digest": "Pin of the model",
    "judge.num_ctx": "Context length",
    "judge.num_predict": "Longest verdict in tokens",
    "judge.think": "Thinking",
    "judge.on_refusal": "If the judge is refused",
    "judge.repeats": "Scores of each answer",
    "judge.parallel": "Concurrent calls",
    "judge.max_invalid": "Largest share without a score",
    "judge.calibration": "Human labels",
    "judge.panel": "Further judges",
}


def experiment(root: Path, profile_names: tuple[str, ...], modes: tuple[str, ...]) -> Schema:
    """The schema of the parameters of a run with values of its own.

    Args:
        root: folder of the project.
        profile_names: the profiles that are offered.
        modes: what a run may do where something that it needs is missing.
    """
    return _object(_of_a_run(root, profile_names, modes), title="Parameters")


def seeds(
    root: Path, profile_names: tuple[str, ...], modes: tuple[str, ...], *, least: int, most: int, usual: int
) -> Schema:
    """The schema of the parameters of several trainings of one recipe.

    Args:
        root: folder of the project.
        profile_names: the profiles that are offered.
        modes: what a run may do where something that it needs is missing.
        least: the fewest trainings.
        most: the most trainings.
        usual: the trainings where nobody says how many.
    """
    described = f"How often the recipe is trained. The seeds count up from finetune.seed. Left alone: {usual}."
    number = {"title": "Trainings", "description": described, "type": "integer", "minimum": least, "maximum": most}
    return _object({"trainings": number, **_of_a_run(root, profile_names, modes)}, title="Parameters")


def _of_a_run(root: Path, profile_names: tuple[str, ...], modes: tuple[str, ...]) -> dict[str, Schema]:
    """The fields of a run with values of its own."""
    return {
        "profile": {
            "title": "Profile",
            "description": "Values of a file in profiles/ put over params.yaml. Nothing chosen, or current: none.",
            "type": "string",
            "enum": list(profile_names),
        },
        "overrides": _Fields(root).all(),
        "force": _force(),
        "preflight": _preflight(modes),
    }


def nightly(modes: tuple[str, ...]) -> Schema:
    """The schema of the parameters of a run of the folder as it is.

    Args:
        modes: what a run may do where something that it needs is missing.
    """
    return _object({"force": _force(), "preflight": _preflight(modes)}, title="Parameters")


def committed(root: Path) -> str:
    """The text of params.yaml in the last commit, of which runs with other values are; else that of the file."""
    try:
        return git.do(root, "show", f"HEAD:./{paths.PARAMS}", fix="git status")
    except PipelineError:
        return (root / paths.PARAMS).read_text(encoding="utf-8")


def comments(text: str) -> dict[str, str]:
    r"""The comment of each key of params.yaml that has one, by dotted key: the lines above it, or the end of its line.

    >>> comments("a:\n  # One,\n  # two.\n  b: 1\n  c: 2  # Three.\n  d: 3\n")
    {'a.b': 'One, two.', 'a.c': 'Three.'}
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    block: list[str] = []
    for line in text.splitlines():
        if comment := re.match(r"\s*#\s?(.*)", line):
            block.append(comment[1])
            continue
        if key := re.match(r"""( *)([\w-]+):(?: +"[^"]*"| +'[^']*')?(.*)""", line):
            indent = len(key[1])
            above = [*(one for one in above if one[0] < indent), (indent, key[2])]
            beside = re.search(r"\s#\s?(.*)", key[3])
            if said := " ".join(" ".join([*block, beside[1] if beside else ""]).split()):
                found[".".join(name for _, name in above)] = said
        block = []
    return found


class _Fields:
    """Makes the fields of params.yaml.

    Args:
        root: folder of the project.
    """

    def __init__(self, root: Path) -> None:
        text = committed(root)
        self._comments = comments(text)
        self._tree = tree_of(text) or {}

    def all(self) -> Schema:
        """The field of ``overrides``: the first ones by dotted key, then the sections with the others.

        A value may also be given in the other way, by section or by dotted key. That is not in the form but in
        ``patternProperties``, which Prefect's server checks and its pages do not show.
        """
        dotted = {key: self._leaf(key, _field(key)) for key in value_keys()}
        fields = {key: dotted[key] for key in FIRST}
        fields |= {key: self._section(key) for key in _sections()}
        fields["profile"] = dotted["profile"]
        others = {key: field for key, field in dotted.items() if key not in fields}
        described = "Leave a field alone to keep its value. The run works in a copy of the last commit."
        return _object(fields, title="Values", description=described) | _hidden(others)

    def _section(self, key: str) -> Schema:
        fields: dict[str, Schema] = {}
        hidden: dict[str, Schema] = {}
        for name, field in _model(key).model_fields.items():
            inner = f"{key}.{name}"
            is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            made = self._section(inner) if is_section else self._leaf(inner, field)
            (hidden if inner in FIRST else fields)[name] = made
        return _object(fields, title=_title(key)) | _hidden(hidden)

    def _leaf(self, key: str, field: FieldInfo) -> Schema:
        kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        schema = _inline(offered(kind))
        said = f"{_now(self._tree, key)} {self._comments.get(key, '')} In params.yaml: {key}"
        return schema | {"title": _title(key), "description": said}


def _inline(kind: Any) -> Schema:
    """The schema of a type, without references: Prefect's pages look for them elsewhere.

    Where null is a value too, the pages show a tab for each of both, with its title.
    """
    made = TypeAdapter(kind).json_schema()
    definitions = made.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if reference := part.get("$ref"):
                return resolved(definitions[reference.rpartition("/")[2]])
            return {key: resolved(one) for key, one in part.items() if key != "default"}
        return [resolved(one) for one in part] if isinstance(part, list) else part

    found: Schema = resolved(made)
    for one in found.get("anyOf", []):
        one["title"] = "null" if one["type"] == "null" else "a value"
    return found


def _force() -> Schema:
    described = "Run every stage, even if nothing has changed. Nothing chosen: only what has changed."
    return {"title": "Force", "description": described, "type": "string", "enum": list(ANSWERS)}


def _preflight(modes: tuple[str, ...]) -> Schema:
    described = (
        "Where something that the run needs is missing, such as the judge: fail begins nothing, warn runs what can be "
        "run. Nothing chosen: fail."
    )
    return {"title": "If something is missing", "description": described, "type": "string", "enum": list(modes)}


def _object(fields: Mapping[str, Schema], *, title: str, description: str = "") -> Schema:
    """An object with these fields and no others, in this order."""
    placed = {name: {**field, "position": position} for position, (name, field) in enumerate(fields.items())}
    made: Schema = {"type": "object", "title": title, "properties": placed, "additionalProperties": False}
    return made | ({"description": description} if description else {})


def _hidden(fields: Mapping[str, Schema]) -> Schema:
    return {"patternProperties": {f"^{re.escape(name)}$": field for name, field in fields.items()}} if fields else {}


def _sections() -> list[str]:
    return [key for key in whole.Params.model_fields if key != "profile"]


def _model(key: str) -> type[BaseModel]:
    """The class of a section, by its dotted key."""
    found: Any = whole.Params
    for part in key.split("."):
        found = found.model_fields[part].annotation
    assert isinstance(found, type)
    assert issubclass(found, BaseModel)
    return found


def _field(key: str) -> FieldInfo:
    section, _, name = key.rpartition(".")
    return (_model(section) if section else whole.Params).model_fields[name]


def value_keys(model: type[BaseModel] = whole.Params, prefix: str = "") -> list[str]:
    """Every dotted key that has a value, in the order of params.yaml; a section that may be null is a value.

    Args:
        model: the class of a section; by default that of params.yaml.
        prefix: text before every key.
    """
    keys: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += value_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _now(tree: Mapping[str, Any], key: str) -> str:
    """The value of a dotted key, as params.yaml writes it."""
    found: Any = tree
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return "Not set."
        found = found[part]
    return f"Now {_yaml(found)}."


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _title(key: str) -> str:
    name = key.rpartition(".")[2].replace("_", " ")
    return _TITLES.get(key, name[:1].upper() + name[1:])
