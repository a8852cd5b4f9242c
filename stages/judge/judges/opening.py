"""Opens the judge that params.yaml names."""

from __future__ import annotations

from stages.common.records import read_records
from stages.common.results.split import Example, split_file
from stages.judge.judges.address import ollama_url
from stages.judge.judges.moved_tags import tell_of_a_moved_tag
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.openai import open_openai_judge
from stages.judge.judges.protocol import JudgeBackend
from stages.judge.judges.reference import ReferenceJudge
from stages.judge.judges.rubric import require_known
from stages.params.judge import Judge


def open_judge(settings: Judge) -> JudgeBackend:
    """Open the judge that ``judge.backend`` names; what it needs has been checked when this returns.

    The built-in judge reads no rubric. Its name is checked all the same: a record would keep one that means nothing.

    Raises:
        ServiceUnavailable: its server does not answer.
        ConfigError: its model, its rubric or its server's address is wrong.
        DataError: the train rows, by which the built-in judge weighs words, are missing or broken.
    """
    match settings.backend:
        case "reference":
            require_known(settings.rubric)
            return ReferenceJudge.of_rows(read_records(split_file("train"), Example, made_by="dvc repro split"))
        case "ollama":
            judge = open_ollama_judge(settings)
            tell_of_a_moved_tag(ollama_url(), settings, judge.identity()["digest"])
            return judge
        case "openai":
            return open_openai_judge(settings)
