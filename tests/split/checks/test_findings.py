"""Each check, on rows of which the finding is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from stages.common.metrics.gate import Finding
from stages.common.results.split import Example
from stages.download import dataset
from stages.params.split import Checks
from stages.split import splits
from stages.split.checks import languages, near
from stages.split.checks.findings import every_finding
from stages.split.checks.rows import Rows
from tests.split.checks.test_context import TEMPLATE, context
from tests.split.test_splits import ids, row, rows, thresholds

PLAIN = [row("Name a tree.", "An oak."), row("Say hello.", "Hello!"), row("Which day is it?", "Monday.")]


def found(
    train: Sequence[dataset.Row],
    test: Sequence[dataset.Row] = (),
    val: Sequence[dataset.Row] = (),
    length: int = 100_000,
    **given: int,
) -> tuple[dict[str, Finding], list[str]]:
    """What each check finds, by its name, and the ids of all rows."""
    order = splits.with_ids([*train, *test, *val])
    ends = len(train), len(train) + len(test)
    division: Mapping[str, Sequence[Example]] = {
        "train": order[: ends[0]],
        "test": order[ends[0] : ends[1]],
        "val": order[ends[1] :],
    }
    all_rows = Rows(division, order, near.find(order), context(length))
    return {one.name: one for one in every_finding(all_rows, Checks(**thresholds(**given)))}, ids(order)


def test_there_is_a_check_for_every_threshold_and_plain_rows_have_no_finding() -> None:
    checks, _ = found(PLAIN[:1], PLAIN[1:2], PLAIN[2:])
    assert list(checks) == list(Checks.model_fields)
    assert {name for name, one in checks.items() if one.count} == {"few_test_rows"}


def test_ten_test_rows_with_instructions_of_their_own_are_enough() -> None:
    assert found(PLAIN, rows(10))[0]["few_test_rows"].count == 0
    assert found(PLAIN, [*rows(9), row("i0", "x")])[0]["few_test_rows"].count == 10


def test_duplicates_conflicts_and_leaks() -> None:
    train = [row("a b", "x"), row("a b", "x"), row("c d", "x")]
    test = [row("a b", "y"), row("C, D!", "z"), row("e f")]
    val = [row("c d", "x", category="other"), row("e f")]

    checks, row_ids = found(train, test, val)

    seen = {name: (one.count, one.groups, one.ids) for name, one in checks.items() if one.count}
    assert seen == {
        "repeated_rows": (3, 3, [row_ids[1], row_ids[6], row_ids[7]]),
        "repeated_prompts": (4, 3, [row_ids[1], row_ids[3], row_ids[6], row_ids[7]]),
        "conflicting_answers": (3, 1, [row_ids[0], row_ids[1], row_ids[3]]),
        "near_duplicates": (1, 1, [row_ids[4]]),
        "leaks": (2, None, [row_ids[3], row_ids[6]]),
        "near_leaks": (1, None, [row_ids[4]]),
        "few_test_rows": (3, None, row_ids[3:6]),
        "unseen_categories": (1, 1, [row_ids[6]]),
    }
    (leak, _) = checks["leaks"].examples
    assert leak.model_dump() == {
        "id": row_ids[3],
        "split": "test",
        "text": "a b\n→ y",
        "other": row_ids[0],
        "other_text": "a b\n→ x",
    }
    assert [one.other for one in checks["conflicting_answers"].examples] == [row_ids[3], row_ids[3], row_ids[0]]


def test_a_row_is_shown_with_the_first_that_it_repeats_or_is_near_to() -> None:
    data = [row("Say a"), row("say a!"), row("Say a"), row("Say a"), row("SAY A")]

    checks, row_ids = found(data)

    assert {
        name: [(one.id, one.other) for one in checks[name].examples] for name, one in checks.items() if one.count
    } == {
        "repeated_rows": [(row_ids[2], row_ids[0]), (row_ids[3], row_ids[0])],
        "repeated_prompts": [(row_ids[2], row_ids[0]), (row_ids[3], row_ids[0])],
        "near_duplicates": [(row_ids[1], row_ids[0]), (row_ids[4], row_ids[0])],
    }


def test_scripts_are_counted_without_that_of_most_rows() -> None:
    checks, row_ids = found([row("λέξη", "λ"), *PLAIN, row("слово", "с"), row("12", "3")])
    assert (checks["other_scripts"].ids, checks["other_scripts"].groups) == ([row_ids[0], row_ids[4]], 2)

    without_letters = found([row("12", "3")])[0]["other_scripts"]
    assert (without_letters.count, without_letters.groups) == (0, 0)


def test_short_rows_need_no_model_of_languages() -> None:
    languages.model.cache_clear()

    found(PLAIN)

    assert languages.model.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("name", "bad", "text"),
    [
        ("empty_answers", row("Go on.", "..."), "Go on.\n→ ..."),
        ("placeholders", row("Go on.", "Yes.", "<noinput>"), "Go on.\n<noinput>\n→ Yes."),
        ("unfinished_answers", row("Go on.", "I am [Your Name]."), "[your name]\nGo on.\n→ I am [Your Name]."),
        ("offensive_words", row("Go on.", "You Assholes!"), "As…"),
        ("template_markers", row("Go on.", "Yes. ### Response: no"), "Go on.\n→ Yes. ### Response: no"),
        ("api_keys", row("Go on.", "hf_" + "x" * 34), "hf_x…"),
        ("ibans", row("Pay to GB82 WEST 1234 5698 7654 32", "Yes."), "GB82…"),
        ("emails", row("Mail to jane.doe@mail.net", "Yes."), "jane…"),
        ("phones", row("Call +44 20 7946 0958", "Yes."), "+44 …"),
        ("other_languages", row("Wie heißt du?", "Ich heiße Anna. " * 7), f"Wie heißt du?\n→ {'Ich heiße Anna. ' * 7}"),
        ("other_scripts", row("Переведи это слово", "Да"), "Переведи это слово\n→ Да"),
    ],
)
def test_a_row_that_is_told(name: str, bad: dataset.Row, text: str) -> None:
    answer = "I am as old as my brother, who was born ten years before our sister, and she is younger than you."
    english = [row("How old are you?", answer), row("How old is he?", f"Well, {answer}")]
    checks, row_ids = found([*PLAIN, *english], [bad])
    assert {key: one.ids for key, one in checks.items() if one.count} == {
        "few_test_rows": row_ids[5:6],
        name: row_ids[5:],
    }
    assert [(one.split, one.text, one.other) for one in checks[name].examples] == [("test", text, None)]
    assert checks[name].severity == ("info" if name in ("other_scripts", "other_languages") else "warning")


def test_english_words_are_not_looked_for_in_another_language() -> None:
    german = "Nenne drei Tipps, wie man gesund bleibt. Iss jeden Tag Obst, und schlafe genug: das Wort ist dumbass."
    english = "Name three tips for staying healthy. Eat fruit every day, and sleep enough: the word is dumbass."
    not_told = "dumbass"

    checks, ids = found([row("A", german), row("B", english), row("C", not_told)])

    assert checks["offensive_words"].ids == ids[1:]


@pytest.mark.parametrize("output", ["?", "+", "3", "!", "¿Sí?", "€"])
def test_a_sign_can_be_an_answer(output: str) -> None:
    assert found([row("Which sign?", output)])[0]["empty_answers"].count == 0


def test_examples_of_other_checks_show_no_secret_either() -> None:
    (sample,) = found([row("My key", "sk-proj-abcdefghij0123456789XY"), row("My key", "no")])[0][
        "repeated_prompts"
    ].examples
    assert (sample.text, sample.other_text) == ("My key\n→ no", "My key\n→ sk-p…")


def test_rows_that_do_not_fit_the_context() -> None:
    over, filled, fits = row("abc", "defghi"), row("a long instruction", "x"), row("a", "b")

    checks, ids = found([over, fits], [filled], [filled | {"output": "y"}], length=TEMPLATE + 6)

    counted = {name: one.ids for name, one in checks.items() if name in ("over_context", "dropped")}
    assert counted == {"over_context": [ids[0], ids[2], ids[3]], "dropped": [ids[3]]}
    assert checks["over_context"].examples[0].text == (
        f"{TEMPLATE + 10} tokens, {TEMPLATE + 3} of them its prompt; context {TEMPLATE + 6}\nabc\n→ defghi"
    )
    assert checks["dropped"].severity == checks["over_context"].severity == "warning"


def test_siblings_of_a_template() -> None:
    siblings = [row(f"Is it true that {number} is an even number?") for number in (11, 22, 33, 44, 55)]
    checks, row_ids = found(siblings, PLAIN)
    assert (checks["template_siblings"].ids, checks["template_siblings"].groups) == (row_ids[:5], 1)
    assert found(siblings[:4], PLAIN)[0]["template_siblings"].count == 0
    # Five rows make "is it true that" a template, and four of them have nothing before it.
    assert found([*siblings[:4], row("Well, is it true that")])[0]["template_siblings"].count == 0


def test_a_count_above_its_threshold_is_an_error_and_one_at_it_is_not() -> None:
    data = [*rows(3), row("i0", "x"), row("i1", "x")]
    for limit, severity in ((0, "error"), (1, "error"), (2, "warning"), (3, "warning")):
        one = found(data, repeated_prompts=limit)[0]["repeated_prompts"]
        assert (one.count, one.limit, one.severity) == (2, limit, severity)


def test_examples_are_five_and_short() -> None:
    one = found([row("same " * 200, str(number)) for number in range(9)])[0]["conflicting_answers"]
    assert (len(one.examples), len(one.ids)) == (5, 9)
    assert len(one.examples[0].text) == 301  # 300 characters and an ellipsis
    whole = found([row("a" * 295, "xy"), row("a" * 295, "z")])[0]["repeated_prompts"].examples[0]
    assert (whole.text, whole.other_text) == ("a" * 295 + "\n→ z", "a" * 295 + "\n→ xy")  # 299 and 300 characters
