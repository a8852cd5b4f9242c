"""The script of a text."""

from __future__ import annotations

import pytest

from stages.split.checks.scripts import NO_LETTERS, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello, 12!", "LATIN"),
        ("Größe", "LATIN"),
        ("Привет, Anna", "CYRILLIC"),
        ("東京 is it", "LATIN"),
        ("東京タワーです", "KANA"),
        ("東京", "CJK"),
        ("東京都庁タワー", "KANA"),
        ("タワab", "KANA"),
        ("タワabc", "LATIN"),
        ("ab 1я", "LATIN"),
        ("abя", "LATIN"),
        ("ＡＢ", "LATIN"),
        ("1 + 2 = 3 €", NO_LETTERS),
        ("", NO_LETTERS),
        ("aя", "CYRILLIC"),  # of two that are equally frequent, the first in the alphabet
    ],
)
def test_scripts_by_hand(text: str, script: str) -> None:
    assert script_of(text) == script
