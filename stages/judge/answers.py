"""What is judged: the answers to the test rows, each with all that the judge and the statistics need to know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stages.common.errors import DataError
from stages.common.metrics.split import SplitMetrics
from stages.common.plurals import counted, word
from stages.common.records import ModelName, read_metrics, read_records
from stages.common.results.download import TOKENIZER
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.judge.judges.protocol import Question
from stages.judge.scores import labels
from stages.judge.scores.faults import faults, words_of_rows, words_of_tokenizer
from stages.judge.scores.labels import HumanLabels
from stages.params.judge import Judge
from stages.running import console

SPLIT = "dvc repro split"
GENERATE = "dvc repro --force generate"


@dataclass(frozen=True)
class Answers:
    """The answers to be judged.

    Attributes:
        models: the models that have answered, in the order of their answers.
        questions: one question a test row and model, in the order of the rows.
        categories: category of each row by id, in the order of the rows.
        sources: source of each row by id, where the dataset is a mix of several; empty otherwise.
        faults: visible faults of each answer, by id and model.
        duplicates: ids of the rows whose instruction and input also occur in train.
        labels: human labels of some of the answers; None where params.yaml names none.
    """

    models: Sequence[ModelName]
    questions: Sequence[Question]
    categories: Mapping[str, str]
    sources: Mapping[str, str]
    faults: Mapping[tuple[str, ModelName], Sequence[str]]
    duplicates: Collection[str]
    labels: HumanLabels | None

    def texts(self, model: ModelName) -> dict[str, str]:
        """One model's answers by id."""
        return {question.id: question.answer for question in self.questions if question.model == model}


def read_answers(settings: Judge) -> Answers:
    """Read what the earlier stages have written, and check it before anything is judged.

    Raises:
        ConfigError: the file of human labels is not there.
        DataError: a file is missing or broken, or the answers do not fit the test rows.
    """
    examples = list(read_records(split_file("test"), Example, made_by=SPLIT))
    responses = list(read_records(RESPONSES, Response, made_by=GENERATE))
    models = models_of(responses, settings)
    questions = join(examples, responses, models)
    return Answers(
        models=models,
        questions=questions,
        categories={row.id: row.category for row in examples},
        sources={row.id: row.source for row in examples if row.source is not None},
        faults=_faults(questions, responses),
        duplicates=_duplicates(),
        labels=_labels(questions, models, settings),
    )


def models_of(responses: Sequence[Response], settings: Judge) -> list[ModelName]:
    """The models that have answered, in the order of their answers.

    Raises:
        DataError: the fine-tuned one has not, or in pairwise mode the other has not.
    """
    found = list(dict.fromkeys(response.model for response in responses))
    wanted = {"tuned", "base"} if settings.mode == "pairwise" else {"tuned"}
    if missing := wanted.difference(found):
        raise DataError(f"{RESPONSES}: no answer by the model {', '.join(sorted(missing))}", GENERATE)
    return found


def join(examples: Sequence[Example], responses: Sequence[Response], models: Sequence[ModelName]) -> list[Question]:
    """One question a test row and model, in the order of the rows.

    Raises:
        DataError: an answer is missing, is there twice, or belongs to no row or model; or two rows have one id.
    """
    if twice := [id for id, count in Counter(row.id for row in examples).items() if count > 1]:
        raise DataError(f"{split_file('test')}: more than one row: {_some(twice)}", "dvc repro --force split")
    wanted = {(row.id, model): row for row in examples for model in models}
    counts = Counter((response.id, response.model) for response in responses)
    problems = {
        "no answer": [key for key in wanted if key not in counts],
        "more than one answer": [key for key, count in counts.items() if count > 1 and key in wanted],
        "answers to no test row": [key for key in counts if key not in wanted],
    }
    found = [f"{what}: {_some([f'{id} ({model})' for id, model in keys])}" for what, keys in problems.items() if keys]
    if found:
        raise DataError(f"{RESPONSES} does not fit {split_file('test')}: {'; '.join(found)}", GENERATE)
    answers = {(response.id, response.model): response.text for response in responses}
    return [
        Question(row.id, model, row.instruction, row.input, row.output, answers[row.id, model])
        for (_, model), row in wanted.items()
    ]


def _faults(questions: Sequence[Question], responses: Sequence[Response]) -> dict[tuple[str, ModelName], Sequence[str]]:
    words = words_of_tokenizer(TOKENIZER)
    words |= words_of_rows(read_records(split_file("train"), Example, made_by=SPLIT))
    stops = {(response.id, response.model): response.stop_reason for response in responses}
    return {(q.id, q.model): faults(q, stops[q.id, q.model], words) for q in questions}


def _duplicates() -> frozenset[str]:
    """The ids of the test rows whose instruction and input also occur in train, as the stage split found them."""
    return frozenset(read_metrics(SPLIT_METRICS, SplitMetrics, made_by=SPLIT).prompts_also_in_train["test"].ids)


def _labels(questions: Sequence[Question], models: Sequence[ModelName], settings: Judge) -> HumanLabels | None:
    """The human labels of these answers, where params.yaml names a file. Those that do not fit fail nothing.

    What is not calibrated is told: another training alone makes a file of labels one of other answers.
    """
    if settings.calibration is None:
        return None
    found = labels.of_these_answers(labels.read(settings.calibration), questions, settings.calibration)
    if stale := sum(found.stale.values()):
        console.say(
            f"judge.calibration: {stale} of {counted(found.rows, 'row')} "
            f"{word(stale, 'labels another answer, and is', 'label other answers, and are')} left out"
        )
    for model in models:
        labelled = sum(one == model for _, one in found.scores)
        if (why := found.why_not(model, labelled)) is not None:
            console.say(f"judge.calibration: the answers by {model} are not calibrated: {why}")
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
