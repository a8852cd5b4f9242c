"""The language that a text is written in, by py3langid's model of 139 languages.

The model is a naive Bayes classifier over byte n-grams (Lui and Baldwin, langid.py, ACL 2012).
"""

from __future__ import annotations

import functools

from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

#: Of a text that is shorter than `LEAST_BYTES`, and of one in several languages, in names, numbers or code.
SHORT, UNSURE = "short", "unsure"
#: The shortest text whose language is told, and how much of each end of a longer one is looked at, in bytes of UTF-8:
#: its time grows with the bytes, and its prompt and its answer need no more.
LEAST_BYTES, _END = 60, 150
#: The least probability by the model. The bundled data and the book's have no row above it that is not English
#: (docs/decisions.md).
_SURE = 0.8
#: The model's label of what is in no language.
_NO_LANGUAGE = "zxx"


def is_short(text: str) -> bool:
    """Whether a text is too short for its language to be told."""
    return len(text) < LEAST_BYTES and len(text.encode()) < LEAST_BYTES


def language_of(text: str) -> str:
    """The language of a text as its code in ISO 639, such as en; `SHORT` or `UNSURE` where it is not told."""
    if is_short(text):
        return SHORT
    whole = text.encode()
    ends = whole if len(whole) <= 2 * _END else whole[:_END] + b"\n" + whole[-_END:]
    language, probability = model().classify(ends.decode(errors="ignore"))
    return UNSURE if probability < _SURE or language == _NO_LANGUAGE else str(language)


@functools.cache
def model() -> LanguageIdentifier:
    """The model, which takes a second to load at the first call, and 100 MB."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
