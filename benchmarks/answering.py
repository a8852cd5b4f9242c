"""One contender that answers prompts, once: `benchmarks.generate` starts this in a process of its own.

Every contender answers greedily from the same weights, and makes as many tokens for each prompt as it is told.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from pydantic import BaseModel, ConfigDict

from benchmarks import child
from benchmarks.clock import busy_elsewhere
from benchmarks.results import Answered, Answering
from benchmarks.task import POSITIONS, SEED, SIZES, recipe
from stages.common.errors import ConfigError
from stages.common.files import read_json, sha256, write_json
from stages.common.records import write_metrics
from stages.download import bpe, dataset
from stages.gpt2 import decoding, prepacked, runtime, weights
from stages.gpt2.model import GPT2, GPT2Config
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.prompts.encoding import encode
from stages.prompts.styles import STYLES
from stages.running.machine import peak_resident
from stages.split import splits

#: Tokens that the book's model made for each row of its test split: those of the answers that its repository holds
#: (rasbt/LLMs-from-scratch, ch07/01_main-chapter-code/instruction-data-with-response.json, commit aba7ed2), with the
#: heading of the response, which it made too, and an end-of-text. One row ran to its limit of 256.
LENGTHS = (
    *(16, 21, 23, 15, 14, 16, 14, 15, 22, 25, 14, 18, 14, 16, 37, 37, 13, 14, 22, 15, 16, 15, 17, 15, 20, 25, 53, 30),
    *(17, 13, 20, 18, 32, 15, 17, 19, 17, 16, 19, 19, 18, 21, 32, 10, 19, 14, 16, 16, 17, 37, 13, 13, 27, 20, 24, 32),
    *(17, 15, 12, 21, 19, 19, 20, 19, 20, 19, 13, 26, 22, 20, 17, 19, 17, 9, 256, 13, 21, 23, 20, 20, 26, 19, 24, 16),
    *(18, 18, 13, 22, 19, 18, 13, 20, 44, 35, 18, 25, 15, 16, 33, 18, 19, 19, 19, 16, 35, 22, 19, 12, 13, 20),
)

#: Tokens of the warm-up's answers.
WARMUP_TOKENS = 4

Answers = list[list[int]]
#: What each contender gives: a function from prompts, and a length for each, to the generated ids.
Answer = Callable[[Sequence[list[int]], Sequence[int]], Answers]


class Questions(BaseModel):
    """Prompts, and how many tokens each is answered with; model/ is in the same folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: str
    prompts: list[list[int]]
    lengths: list[int]


def make(folder: Path, *, model: str, data: Path, rows: int) -> None:
    """Write questions.json and a model of random weights.

    Raises:
        DataError: the dataset is wrong.
        ConfigError: the dataset is missing, or its test split has fewer rows.
    """
    if not data.is_file():
        raise ConfigError(f"--data {data}: no such file", "name a JSON list of instruction, input and output")
    settings = recipe()
    (folder / "bpe").mkdir(parents=True)
    (folder / "model").mkdir()
    bpe.fetch_files(settings.download.tokenizer.source, folder / "bpe", FILES)
    tokenizer = Tokenizer(folder / "bpe")
    read = dataset.read(data, name=data.name, fix=f"correct {data}")
    test = splits.divide(splits.with_ids(read.rows), settings.split)["test"]
    if rows > len(test):
        raise ConfigError(f"--rows {rows}: the test split of {data.name} has {len(test)} rows")
    encoded = [encode(row, STYLES[settings.tokenize.prompt_style], tokenizer) for row in test[:rows]]
    layers, heads, width = SIZES[model]
    weights.save(random_model(GPT2Config(layers, heads, width, POSITIONS)), folder / "model")
    questions = Questions(
        model=model,
        data=f"{data.name} ({sha256(data)[:12]})",
        prompts=[row.ids[: row.prompt_length] for row in encoded],
        lengths=[LENGTHS[number % len(LENGTHS)] for number in range(rows)],
    )
    write_json(folder / "questions.json", questions.model_dump())


def random_model(config: GPT2Config) -> GPT2:
    """A GPT-2 of random weights, whose position embedding has half the others' standard deviation.

    GPT-2's own code draws them so (openai/gpt-2, src/model.py). A long answer then repeats itself, as the long one of
    the book's does.
    """
    model = weights.initialise(config, SEED)
    with torch.no_grad():
        model.wpe.weight.mul_(0.5)
    return model


def read(folder: Path) -> Questions:
    """The questions in a folder."""
    return Questions.model_validate(read_json(folder / "questions.json", made_by="python -m benchmarks.generate"))


def ours(
    folder: Path, device: torch.device, dtype: torch.dtype, batch_size: int, *, prompt_lookup: bool = True
) -> Answer:
    """`stages.gpt2.decoding.generate` as the stage calls it, except that each answer ends at its given length."""
    loaded = weights.load(folder, made_by="python -m benchmarks.generate", device=device, dtype=dtype)
    layout = prepacked.layout_for(dtype, device, loaded.config.n_embd, batch_size)
    model = decoding.prepare(loaded, layout)

    def answer(prompts: Sequence[list[int]], lengths: Sequence[int]) -> Answers:
        how = decoding.Decoding(-1, lengths, batch_size, speculative=prompt_lookup)
        made = dict(decoding.generate(model, prompts, how))
        return [made[number].ids for number in range(len(prompts))]

    return answer


def book(folder: Path, device: torch.device, dtype: torch.dtype, batch_size: int) -> Answer:  # noqa: ARG001
    """The book's `generate`: a row at a time without a KV cache, in fp32 as in the book."""
    # Here, as the book's package need not be installed for the others.
    from llms_from_scratch.ch05 import generate

    from benchmarks.book import of

    model = of(weights.load(folder, made_by="python -m benchmarks.generate")).to(device).eval()

    def answer(prompts: Sequence[list[int]], lengths: Sequence[int]) -> Answers:
        made = []
        for prompt, length in zip(prompts, lengths, strict=True):
            ids = torch.tensor([prompt], device=device)
            made.append(generate(model, ids, length, POSITIONS, eos_id=-1)[0, len(prompt) :].tolist())
        return made

    return answer


def transformers(folder: Path, device: torch.device, dtype: torch.dtype, batch_size: int) -> Answer:
    """`GPT2LMHeadModel.generate` with its KV cache: rows by length, padded on the left.

    A batch goes on until its longest answer is done.
    """
    from transformers import GPT2LMHeadModel, StoppingCriteria, StoppingCriteriaList

    model: Any = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    model.to(device).eval()

    class Long(StoppingCriteria):  # type: ignore[misc]
        """Ends each row at its own length."""

        def __init__(self, start: int, lengths: torch.Tensor) -> None:
            self.ends = start + lengths

        def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            return self.ends <= input_ids.shape[1]

    def answer(prompts: Sequence[list[int]], lengths: Sequence[int]) -> Answers:
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        made: dict[int, list[int]] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            width = max(len(prompts[number]) for number in batch)
            padded = [[0] * (width - len(prompts[number])) + prompts[number] for number in batch]
            mask = [[0] * (width - len(prompts[number])) + [1] * len(prompts[number]) for number in batch]
            wanted = torch.tensor([lengths[number] for number in batch], device=device)
            ids = model.generate(
                torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=int(wanted.max()),
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                stopping_criteria=StoppingCriteriaList([Long(width, wanted)]),
            )
            for number, row in zip(batch, ids.tolist(), strict=True):
                made[number] = row[width : width + lengths[number]]
        return [made[number] for number in range(len(prompts))]

    return answer


CONTENDERS: dict[str, tuple[Callable[..., Answer], tuple[str, ...]]] = {
    "ours": (ours, ()),
    "ours-one-by-one": (functools.partial(ours, prompt_lookup=False), ()),
    "book": (book, ("llms-from-scratch",)),
    "transformers": (transformers, ("transformers",)),
}


def main() -> None:
    """Answer as one contender and write what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16", "auto"), required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    contender, packages = CONTENDERS[options.name]
    device = runtime.prepare()
    if device.type != options.device:
        raise ConfigError(f"--device {options.device}: torch uses {device.type}")
    dtype = torch.float32 if options.name == "book" else runtime.dtype_for(options.precision, device)
    questions = read(options.folder)
    prompts, lengths = questions.prompts[: options.rows], questions.lengths[: options.rows]
    with torch.inference_mode():
        answer = contender(options.folder / "model", device, dtype, options.batch_size)
        answer(prompts[:2], [WARMUP_TOKENS] * 2)
        started, before = time.perf_counter(), busy_elsewhere()
        setup = time.time() - psutil.Process().create_time()
        answers = answer(prompts, lengths)  # ends with a copy to the CPU, so that a GPU is done too
        seconds = time.perf_counter() - started
    run = Answering(
        contender=options.name,
        batch_size=options.batch_size,
        precision=runtime.name_of(dtype),
        versions={package: importlib.metadata.version(package) for package in packages},
        rows=len(prompts),
        tokens=sum(map(len, answers)),
        seconds=seconds,
        setup_s=setup,
        cores_of_others=max(0.0, busy_elsewhere() - before) / seconds,
        peak_memory_bytes=torch.cuda.max_memory_reserved() if device.type == "cuda" else peak_resident(),
    )
    if run.tokens != sum(lengths):
        raise RuntimeError(f"expected {sum(lengths)} tokens, found {run.tokens}: not the same work")
    write_metrics(options.out, Answered(run=run, answers=answers))


if __name__ == "__main__":
    child.run(main)
