"""HTML in which every text is escaped, and pages that ask for nothing."""

from __future__ import annotations

import base64
import hashlib
import re

from stages.common.html_page import Html, document, element, joined, table, text

EVIL = "</script><script>alert('1')</script>&amp;\"\x1b[2J\u202e"
ESCAPED = "&lt;/script&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&amp;amp;&quot;\\x1b[2J\\u202e"


def test_a_text_is_escaped_and_its_control_characters_are_shown():
    assert text(EVIL) == ESCAPED


def test_half_of_a_surrogate_pair_is_shown_and_fails_no_file():
    assert text("a\ud800 \U0001f600 é") == "a\\ud800 \U0001f600 é"


def test_html_is_not_escaped_again():
    assert text(element("b", "a < b")) == "<b>a &lt; b</b>"


def test_a_whole_number_has_separators():
    assert text(1234567) == "1,234,567"


def test_an_attribute_is_escaped_and_may_be_left_out_or_have_no_value():
    made = element("a", "x", href=EVIL, class_="k", data_n=3, hidden=True, title=None, open=False)

    assert made == f'<a href="{ESCAPED}" class="k" data-n="3" hidden>x</a>'


def test_an_element_without_contents_has_no_end_tag():
    assert element("meta", name="a", content="b") == '<meta name="a" content="b">'


def test_what_joins_contents_is_escaped_too():
    assert joined(["a", element("i", "b")], " < ") == "a &lt; <i>b</i>"


def test_a_column_of_numbers_stands_to_the_right():
    made = table(["name", "rows", "share"], [("a", 1200, "0.5"), ("b", 3, "–")], most=5, figures=(2,))

    assert '<th scope="col">name</th><th scope="col" class="number">rows</th>' in made
    assert '<td>a</td><td class="number">1,200</td><td class="number">0.5</td>' in made


def test_a_long_table_is_cut_and_says_where_the_rest_is():
    rows = [(number,) for number in range(7)]

    assert table(["n"], rows, most=3, whole="all.json").endswith(
        '<p class="dim">And 4 more, which are in all.json.</p>'
    )
    assert table(["n"], rows[:3], most=3, there=10).endswith('<p class="dim">And 7 more.</p>')
    assert "more" not in table(["n"], rows, most=7)


def test_a_table_without_rows_has_its_heads():
    assert '<th scope="col">n</th>' in table(["n"], [], most=3)


def test_a_page_lets_its_own_style_and_script_work_and_nothing_else():
    made = document("a < b", [element("p", EVIL)], style="p { color: red; }", script="let a = 1 && 2;")

    assert "<title>a &lt; b</title>" in made
    assert "<script>let a = 1 && 2;</script>" in made
    assert made.count("<script") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made)[1].replace("&#x27;", "'")
    style = re.search(r"<style>(.*?)</style>", made, re.DOTALL)[1]
    assert policy == (
        f"default-src 'none'; style-src {source(style)}; base-uri 'none'; form-action 'none'; "
        f"script-src {source('let a = 1 && 2;')}"
    )


def source(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def test_a_page_without_a_script_allows_none():
    assert "script-src" not in document("t", [Html("<p>x</p>")])


def test_a_page_says_for_programs_what_it_is_about():
    assert '<meta name="about" content="results 12">' in document("t", [], about="results 12")
