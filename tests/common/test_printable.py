"""Control characters are shown as escapes, and everything else stays."""

from __future__ import annotations

import unicodedata

from stages.common.printable import printable


def test_no_control_character_is_left_but_tab_and_line_feed() -> None:
    everything = "".join(map(chr, range(0x3000)))
    left = [char for char in printable(everything) if unicodedata.category(char) == "Cc"]
    assert left == ["\t", "\n"]


def test_they_are_shown_as_python_writes_them_and_other_text_stays() -> None:
    assert printable("a\x1b]0;title\x07b\r\n\tc\x7f\x9b2J") == "a\\x1b]0;title\\x07b\\x0d\n\tc\\x7f\\x9b2J"
    assert printable("pay \u202e001\u202c") == "pay \\u202e001\\u202c"
    assert printable("é 😀 עברית 中文 ‍") == "é 😀 עברית 中文 ‍"
