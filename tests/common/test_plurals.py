"""Numbers with the word for what they count, and that no message says "1 rows"."""

from __future__ import annotations

import ast
import re

import pytest

from stages.common.plurals import counted, word
from tests.root import ROOT

#: What messages count. Words that are verbs as well, or units of a rate, are left out.
NOUNS = (
    "answers|attempts|bytes|checkpoints|digits|evaluations|files|folders|GPUs|instructions|keys|labels|layers|lines|losses|"
    "models|pairs|parameters|points|problems|processes|prompts|references|replies|rows|runs|seeds|shards|stages|steps|"
    "tensors|ties|times|tokens|verdicts|wins"
)
#: Numbers that are never 1, by module and expression.
NEVER_ONE = {
    "flows/checks/prefect.py: address": "an address, which answers",
    "flows/checks/tracking.py: shown": "an address, which answers",
    "flows/promote.py: float(value['difference'])": "a difference with a decimal",
    "flows/run_page.py: times": "the case of one stands beside it",
    "stages/download/model_files.py: len(names)": "the case of one shard stands beside it",
    "stages/download/mixing.py: round(whole)": "of a share of them there are too few",
    "stages/download/source.py: len(rows)": "a dataset has three rows or more",
    "stages/finetune/costs/disk.py: size(self.at_once * self.checkpoint)": "bytes",
    "stages/finetune/job.py: longest": "longer than a model's context",
    "stages/finetune/job.py: outputs.parameters(model)": "of a model",
    "stages/finetune/job.py: team.size": "said of several processes",
    "stages/generate/conversation.py: len(ids)": "a prompt that fills the context",
    "stages/generate/job.py: len(others)": "the case of one run stands beside it",
    "stages/generate/kv_memory.py: at_a_time": "the case of one row stands beside it",
    "stages/judge/judges/chat_judge.py: reply.reply_tokens": "said of more than one",
    "stages/judge/judges/ollama.py: size": "bytes of a prompt",
    "stages/judge/judges/openai.py: url": "an address, which answers",
    "stages/judge/judges/ollama_model.py: length": "the context of a model",
    "stages/judge/export/report.py: score.difference": "a number with a decimal place",
    "flows/seed_runs.py: found.high": "a number with a decimal place",
    "flows/seed_runs.py: found.seeds.sd": "a number with a decimal place",
    "stages/judge/runs/spread.py: found.detectable": "a number with a decimal place",
    "stages/judge/runs/spread.py: found.seeds.sd": "a number with a decimal place",
    "stages/judge/runs/table.py: b.points_lost": "a number with a decimal place",
    "stages/judge/runs/table.py: one.seeds.sd": "a number with a decimal place",
    "stages/judge/scores/agreement.py: count": "an interval is of two instructions or more",
    "stages/judge/scores/bootstrap.py: count": "an interval is of two instructions or more",
    "stages/judge/scores/bradley_terry.py: count": "an interval is of two instructions or more",
    "stages/judge/scores/length_control.py: len(names)": "an interval is of two instructions or more",
    "stages/generate/served.py: len(ids)": "a prompt that fills the context",
    "stages/judge/report/compared.py: number(found.mean_there)": "a number with a decimal place",
    "stages/judge/report/compared.py: number(found.mean)": "a number with a decimal place",
    "stages/judge/report/compared.py: number(found.detectable)": "a number with a decimal place",
    "stages/judge/report/judging.py: number(test.separation)": "a number with a decimal place",
    "stages/judge/report/judging.py: number(test.separations.get(test.smallest))": "a number with a decimal place",
    "stages/judge/report/overview.py: difference": "a number with a decimal place",
    "stages/judge/report/recipe.py: sum(rows.values())": "a dataset has three rows or more",
    "stages/judge/report/recipe.py: parameters": "of a model",
    "stages/judge/report/training.py: len(found)": "more than are shown",
    "stages/judge/refusal.py: count": "all probes",
    "stages/judge/refusal.py: least": "the value of judge.min_separation",
    "stages/running/answer_progress.py: count": "the case of one answer stands beside it",
    "stages/running/beside.py: found.difference": "a number with a decimal place",
    "stages/running/gpu.py: before": "the case of one stands beside it",
    "stages/running/summary_parts/compared.py: found.detectable": "a number with a decimal place",
    "stages/running/summary_parts/made_with.py: found.parameters": "of a model",
    "stages/running/summary_parts/made_with.py: section.get('context_length')": "the context of a model",
    "stages/running/summary_parts/training.py: processes": "the case of one stands beside it",
    "stages/running/summary.py: trained.parameters": "of a model",
    "stages/running/tracking/mirror.py: rows": "more than are kept",
    "stages/split/census.py: name": "the number stands before it",
    "stages/split/census.py: rows['all']": "a dataset has three rows or more",
    "stages/split/checks/gate.py: found": "the number of checks, with its word",
    "stages/split/page.py: rows['all']": "a dataset has three rows or more",
    "stages/split/splits.py: total": "a dataset has three rows or more",
    "stages/tokenize/show.py: length": "the context of a model",
    "stages/tokenize/shown.py: settings.context_length": "the context of a model",
}
_COUNTED = re.compile(rf"(?: (?!of|in|has)[a-z]+)? (?:{NOUNS})\b(?!/)")


@pytest.mark.parametrize(("number", "said"), [(0, "0 losses"), (1, "1 loss"), (2, "2 losses"), (1234, "1,234 losses")])
def test_a_number_has_the_right_word(number, said):
    assert counted(number, "loss", "losses") == said
    assert word(number, "loss", "losses") == said.split()[1]


def test_a_word_gets_an_s_by_itself():
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert word(1.0, "point") == "point"
    assert word(0.5, "point") == "points"


def numbers_without_a_singular(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and expression of every number of an f-string that stands before a noun in the plural."""
    return [
        (value.lineno, ast.unparse(value.value))
        for text in ast.walk(tree)
        if isinstance(text, ast.JoinedStr)
        for value, behind in zip(text.values, text.values[1:], strict=False)
        if isinstance(value, ast.FormattedValue)
        and isinstance(behind, ast.Constant)
        and _COUNTED.match(str(behind.value))
    ]


def test_the_search_finds_them():
    source = 'f"{n} rows"; f"{n:,} other runs"; f"{n} row"; f"{rate} tokens/s"; f"{n:,} new and old rows"'
    assert numbers_without_a_singular(ast.parse(source)) == [(1, "n"), (1, "n")]


def test_no_message_counts_one_of_several():
    wrong, found = [], set()
    for path in sorted([*ROOT.glob("stages/**/*.py"), *ROOT.glob("flows/**/*.py")]):
        for line, expression in numbers_without_a_singular(ast.parse(path.read_text())):
            constant = re.sub(r"\W|\d", "", expression.rpartition(".")[2]).isupper()
            found.add(where := f"{path.relative_to(ROOT)}: {expression}")
            if not constant and where not in NEVER_ONE:
                wrong.append(f"{where}, line {line}")
    assert wrong == [], "say it with stages.common.plurals"
    assert NEVER_ONE.keys() <= found, "an entry for what is not there"
