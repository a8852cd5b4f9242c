"""The model card: README.md beside the weights, as the hub shows it (https://huggingface.co/docs/hub/model-cards).

The stage finetune writes what it knows: the network, the training, how to ask, the limits. Where the answers are scored
later, `python -m flows.export` writes the card again, with the scores, the data and the licence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.plurals import counted
from stages.prompts.prompt import PromptStyle

CARD = "README.md"

_LIMITS = (
    "It was trained on single instructions in the prompt style below. Earlier turns of a conversation are no help to "
    "it, and a prompt in another form gives worse answers.",
    "It states wrong facts as it states right ones. Nothing filters what it says.",
)
_NO_LICENCE = "None is stated here. What may be done with the model follows from its base weights and its data."
_NO_SCORES = "Not in this card: the answers are scored after the training. `python -m flows.export` adds the scores."


@dataclass(frozen=True)
class Later:
    """What is known only after the training.

    Attributes:
        data: lines on the data and on the base weights.
        scores: lines on the scores, with their intervals and the judge.
        licence: identifier of the licence, as the hub lists them; empty where none is stated.
    """

    data: Sequence[str] = field(default_factory=list)
    scores: Sequence[str] = field(default_factory=list)
    licence: str = ""


def text(
    config: Mapping[str, Any],
    style: PromptStyle,
    recipe: Mapping[str, Any],
    metrics: FinetuneMetrics,
    later: Later | None = None,
) -> str:
    """The card as Markdown.

    Args:
        config: what config.json holds.
        style: the prompt style.
        recipe: the section finetune of params.yaml, as a tree; a key that it lacks is left out.
        metrics: the figures of the training.
        later: what is known after it.
    """
    later = later or Later()
    sections = {
        "Model": _model(config, metrics),
        "Data": [*(later.data or ["As the project's parameters say."]), _rows(metrics)],
        "Training": _training(recipe, metrics),
        "Scores": list(later.scores) or [_NO_SCORES],
        "Limits": [*_LIMITS, f"Prompt and answer together have {counted(config['n_positions'], 'token')} at most."],
        "Licence": [later.licence or _NO_LICENCE],
    }
    body = [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in sections.items()]
    return "\n\n".join([_front(later), "# A GPT-2 that follows instructions", *body, _asking(style)]) + "\n"


def _front(later: Later) -> str:
    """The card's metadata, in YAML."""
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    if later.licence:
        lines.insert(0, f"license: {json.dumps(later.licence)}")
    return "\n".join(["---", *lines, "tags:", "- gpt2", "- instruction-tuning", "---"])


def _model(config: Mapping[str, Any], metrics: FinetuneMetrics) -> list[str]:
    sizes = f"{counted(config['n_layer'], 'layer')}, {counted(config['n_head'], 'head')}, width {config['n_embd']:,}"
    lines = [f"GPT-2, {sizes}, {counted(metrics.parameters, 'parameter')}, stored in fp32"]
    if metrics.trained_parameters is not None:
        trained = counted(metrics.trained_parameters, "parameter")
        lines.append(f"LoRA: trained and merged into the weights: {trained}")
    return lines


def _rows(metrics: FinetuneMetrics) -> str:
    return f"{counted(metrics.rows_train, 'train row')}, {counted(metrics.rows_val, 'validation row')}"


def _training(recipe: Mapping[str, Any], metrics: FinetuneMetrics) -> list[str]:
    told = ("learning_rate", "schedule", "warmup_steps", "batch_size", "weight_decay", "dropout", "seed")
    values = [f"{name} {recipe[name]}" for name in told if name in recipe]
    length = ", ".join([*metrics.length(recipe), counted(metrics.tokens_seen, "token")])
    losses = f"{metrics.val_loss_before:.3f} before, {metrics.val_loss:.3f} after (step {metrics.kept_step:,})"
    lines = [f"{length}, in {metrics.precision}", f"validation loss in nats a token: {losses}"]
    return [f"AdamW; {', '.join(values)}", *lines] if values else lines


def _asking(style: PromptStyle) -> str:
    """How to ask, as code that runs in the folder above the model's."""
    return f"""## How to ask

The tokenizer has a chat template, in the prompt style {style.name}. The input of an instruction is `input` of the same
message.

```python
from transformers import AutoTokenizer, GPT2LMHeadModel

model = GPT2LMHeadModel.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
messages = [{{"role": "user", "content": "Name the opposite of the word.", "input": "cold"}}]
prompt = tokenizer.apply_chat_template(messages, return_tensors="pt")
answer = model.generate(**prompt)[0, prompt["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True).strip())
```"""
