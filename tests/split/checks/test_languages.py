"""The language of a text: where it is told, and that no row of the data at hand is taken for another language."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stages.split.checks import languages
from stages.split.checks.languages import SHORT, UNSURE, language_of
from tests.root import ROOT

DATASETS = [ROOT / "assets/data/instructions.json", ROOT / "../shared/data/instruction-data.json"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Give three tips for staying healthy.\n\nEat fruit every day, exercise regularly, and sleep enough.", "en"),
        ("Nenne drei Tipps, wie man gesund bleibt.\n\nIss jeden Tag Obst, bewege dich und schlafe genug.", "de"),
        ("Donne trois conseils pour rester en bonne santé.\n\nMange des fruits et dors assez longtemps.", "fr"),
        ("Da tres consejos para mantenerse sano.\n\nCome fruta todos los días y duerme lo suficiente.", "es"),
        ("Дай три совета, как оставаться здоровым.\n\nЕшь каждый день фрукты и спи достаточно.", "ru"),
        ("Дай три поради, як залишатися здоровим.\n\nЇж щодня фрукти та спи достатньо.", "uk"),
        ("请给出三条保持健康的建议。\n\n1. 每天吃水果和蔬菜。2. 定期锻炼身体。3. 保证充足的睡眠。", "zh"),
        ("健康を保つためのアドバイスを挙げてください。毎日果物を食べること。", "ja"),
        ("GIVE THREE TIPS FOR STAYING HEALTHY, AND SAY OF EACH OF THEM WHY IT HELPS.", "en"),
    ],
)
def test_a_language_that_is_told(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_text_of_fewer_than_60_bytes_is_too_short() -> None:
    text = "It is what it is, and that is all that there is to know abo"
    assert (len(text), language_of(text), language_of(text + "u")) == (59, SHORT, "en")
    assert [language_of("ж" * count) for count in (29, 30)] == [SHORT, UNSURE]
    assert language_of("Это всё, что нужно знать об этом деле") != SHORT  # 37 characters, and 67 bytes


class Looking:
    """A model that keeps what it looks at."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def classify(self, text: str) -> tuple[str, float]:
        self.seen.append(text)
        return "en", 1.0


def test_of_up_to_300_bytes_all_are_looked_at_and_of_more_150_at_each_end(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking()
    monkeypatch.setattr(languages, "model", lambda: looking)

    for text in ("a" * 61, "a" * 160, "a" * 150 + "b" * 150, "a" * 150 + "bc" + "d" * 149, "ж" * 200):
        language_of(text)

    assert looking.seen == [
        "a" * 61,
        "a" * 160,
        "a" * 150 + "b" * 150,
        "a" * 150 + "\nc" + "d" * 149,
        "ж" * 75 + "\n" + "ж" * 75,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32",
        "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(add(i, i))\n",
        "<div class='x'><p>x</p></div><ul><li>1</li><li>2</li></ul><a href='/x'>y</a><span></span>",
        "",
    ],
)
def test_numbers_and_code_are_in_no_language(text: str) -> None:
    assert language_of(text) in (SHORT, UNSURE)


def test_of_a_long_text_both_ends_are_looked_at_without_half_characters() -> None:
    assert language_of("a" + "Это всё, что нужно знать об этом. " * 99) == "ru"
    german = "Das ist alles, was man darüber wissen muss, und mehr ist dazu nicht zu sagen. "
    assert language_of(german * 4 + "And this is not German at all, as you can see. " * 99 + german * 4) == "de"


@pytest.mark.parametrize(("path", "told"), [(DATASETS[0], 0.91), (DATASETS[1], 0.81)], ids=["bundled", "book"])
def test_no_row_at_hand_is_taken_for_another_language(path: Path, told: float) -> None:
    if not path.is_file():
        pytest.skip(f"no file {path.relative_to(ROOT)}")
    rows = json.loads(path.read_text(encoding="utf-8"))

    found = Counter(language_of("\n".join((row["instruction"], row.get("input") or "", row["output"]))) for row in rows)

    assert set(found) == {"en", SHORT, UNSURE}
    assert found["en"] > told * len(rows)
