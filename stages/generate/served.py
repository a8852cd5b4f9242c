"""A trained model that answers instructions for MLflow: `mlflow.pyfunc.load_model`, and `mlflow models serve`.

A registered model has the code of this module, in a zip file, and what `stages.generate.dvc_weights` finds the weights
by. It imports nothing of stages/running: it is loaded where there is no project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from stages.common.errors import DataError
from stages.common.files import read_json
from stages.generate import answering, dvc_weights
from stages.gpt2 import decoding, prepacked, runtime, weights
from stages.gpt2.tokenizer import END_OF_TEXT, Tokenizer
from stages.prompts.encoding import answer_text
from stages.prompts.prompt import load_style

#: The files of a registered model's folder data.
WEIGHTS, DECODING = "weights.json", "decoding.json"
#: Prompts that are answered at a time.
_BATCH = 16
_MADE_BY = "load the model from MLflow once more"


class Settings(BaseModel):
    """How the model answers, as the section generate of its run's params.yaml says.

    Args:
        max_new_tokens: the longest answer, in tokens.
        temperature: 0 takes the most likely token.
        top_k: draw from so many most likely tokens; None from all.
        top_p: draw from the fewest whose probabilities sum to this; None from all.
        seed: seed of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0


class Answers:
    """A model that answers the rows of a table.

    Args:
        folder: folder of the model.
        settings: how it answers.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._settings = settings
        self._style = load_style(folder, made_by=_MADE_BY)
        self._tokenizer = Tokenizer(folder, made_by=_MADE_BY)
        device, dtype = runtime.prepare(), torch.float32
        width = weights.read_config(folder / weights.CONFIG, made_by=_MADE_BY).n_embd
        layout = prepacked.layout_for(dtype, device, width, _BATCH)
        self._model = answering.load(folder, made_by=_MADE_BY, dtype=dtype, device=device, layout=layout)

    def predict(self, model_input: Any) -> list[dict[str, str]]:
        """Answer each row, as MLflow calls it.

        Args:
            model_input: a data frame with the column ``instruction``, and perhaps ``input``.

        Returns:
            For each row its ``answer``.

        Raises:
            DataError: a row has no instruction, or its prompt has no room in the model's context.
        """
        rows = model_input.to_dict("records")
        prompts = [self._prompt(number, row) for number, row in enumerate(rows)]
        how = decoding.Decoding(
            END_OF_TEXT,
            self._settings.max_new_tokens,
            batch_size=_BATCH,
            sampling=answering.sampling(self._settings.temperature, self._settings.top_k, self._settings.top_p),
        )
        seeds = [runtime.seed_for(self._settings.seed, "served", number) for number in range(len(rows))]
        answers = [""] * len(rows)
        for index, made in decoding.generate(self._model, prompts, how, seeds):
            answers[index] = answer_text(made.ids, self._tokenizer)
        return [{"answer": text} for text in answers]

    def _prompt(self, number: int, row: dict[str, Any]) -> list[int]:
        instruction, given = row.get("instruction"), row.get("input")
        if not isinstance(instruction, str) or not instruction.strip():
            found = "an empty one" if isinstance(instruction, str) else repr(instruction)
            raise DataError(f"row {number}: instruction: expected a text, found {found}")
        ids = self._tokenizer.encode(self._style.prompt(instruction, given if isinstance(given, str) else ""))
        context = self._model.config.n_positions
        if len(ids) >= context:
            raise DataError(f"row {number}: its prompt has {len(ids):,} tokens; there is room for {context - 1:,}")
        return ids


def load(path: str) -> Answers:
    """Load a registered model, as MLflow calls it.

    Args:
        path: folder with the files `WEIGHTS` and `DECODING`.

    Raises:
        DataError: its weights are in no cache of DVC, and no remote has them.
    """
    settings = Settings.model_validate(read_json(Path(path, DECODING), made_by=_MADE_BY))
    with dvc_weights.folder(Path(path, WEIGHTS)) as folder:
        return Answers(folder, settings)
