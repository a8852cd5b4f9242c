"""What an answer is about: "Oslo is the capital of Denmark" says nothing of Norway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rapidfuzz.distance import Levenshtein

from stages.judge.judges.kinds import tells
from stages.judge.judges.rows import Row, is_form_of, without_articles
from stages.judge.judges.wording import loose

#: An answer is about another subject if a word that the reference has from the prompt is replaced in it, and this share
#: of its words are in the reference's places.
SAME_PLACES = 0.5
#: Words that join a subject to what is asked of it: "the capital of", "comes after".
_LINKS = frozenset({"of", "for", "in", "on", "at", "after", "before", "from", "to", "by", "with", "as", "than"})
#: Words behind which an opening says what it is about.
_ABOUT = frozenset({"of", "for", "with", "that"})


def other_subject(words: Sequence[str], row: Row) -> list[str]:
    """Words in the places where the reference or the prompt has what is asked about.

    Args:
        words: an answer's words, loosely, in its order.
        row: the row.

    Returns:
        ``["tired"]`` of "tired is an adverb" for "softly is an adverb", and ``["denmark"]`` of "Oslo is the capital of
        Denmark" where the prompt asks for "the capital of Norway". A form of what is asked about, and an answer that
        has it somewhere else too, are about nothing else.
    """
    return list(dict.fromkeys([*_replaced(words, row), *_behind_the_same(words, row)]))


def other_form(words: Sequence[str], core: Sequence[str], row: Row) -> list[str]:
    """Words of an opening that speaks of another thing: "The number is going to a full stop" says nothing of a mark.

    It is an opening of train rows whose categories are none of this row's kind, and it says what it is about ("the
    plural of"), or the answer does not go on as these rows do ("the number is" with a number).

    Args:
        words: an answer's words, loosely, in its order.
        core: the key words that decide; one in the opening itself is said of nothing else.
        row: the row; nothing is found where its kind is not known.

    Returns:
        Those words of the opening that tell something and are neither in the prompt nor in the reference.
    """
    opening, found = row.corpus.shared_opening(words)
    if not row.kind.categories or found.categories & row.kind.categories or {*opening} & {*core}:
        return []
    behind = without_articles(words[len(opening) :])[:1]
    if not _ABOUT & {*opening} and all(map(found.leads_to, behind)):
        return []
    known = {*row.prompt.words, *row.words}
    return [word for word in opening if tells(word) and not any(is_form_of(word, one) for one in known)]


def _replaced(words: Sequence[str], row: Row) -> list[str]:
    """Words in the reference's places: of those that the prompt names, or of the first of all where it names none."""
    ours, theirs = without_articles(words), without_articles(row.words)
    if Levenshtein.normalized_similarity(ours, theirs) < SAME_PLACES:
        return []
    known = {*row.prompt.words, *row.words}
    found = []
    for edit in Levenshtein.editops(theirs, ours):
        if edit.tag != "replace":
            continue
        old, new = theirs[edit.src_pos], ours[edit.dest_pos]
        first = edit.src_pos == edit.dest_pos == 0 and ours[1:2] == theirs[1:2] and _is_first(old, ours, row)
        if (old in row.taken or first) and tells(old) and tells(new) and new not in known:
            found.append(new)
    return found


def _is_first(old: str, ours: Sequence[str], row: Row) -> bool:
    """Whether a word with which the reference begins is what a prompt without names asks about, and is missing."""
    if row.taken or old not in row.prompt.words or old.endswith("est"):  # "largest" may be "biggest"
        return False
    return not any(is_form_of(word, old) for word in ours)


def _behind_the_same(words: Sequence[str], row: Row) -> list[str]:
    """Words behind "capital of" or "wrote", where the prompt or the reference has what is asked about."""
    ours, known = without_articles(words), {*row.prompt.words, *row.words}
    named = frozenset(word for word in row.taken if tells(word))
    subjects = named or frozenset(word for word in row.words if word in row.prompt.asked and tells(word))
    contexts = {
        context
        for text in (row.instruction, row.reference)
        for context, subject in _contexts(without_articles(loose(text)), subjects, named=bool(named))
        if not any(is_form_of(word, one) for word in ours for one in (named or {subject}))
    }
    return [
        ours[at]
        for context in sorted(contexts)
        for at in range(len(context), len(ours))
        if tuple(ours[at - len(context) : at]) == context and tells(ours[at]) and ours[at] not in known
    ]


def _contexts(words: Sequence[str], subjects: frozenset[str], *, named: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    """The one or two words before each subject: two where the nearer one only joins; names may stand behind a verb."""
    for at in range(1, len(words)):
        if words[at] not in subjects or (named and words[at - 1] in subjects):
            continue
        if words[at - 1] in _LINKS:
            if at > 1 and tells(words[at - 2]):
                yield (words[at - 2], words[at - 1]), words[at]
        elif named and tells(words[at - 1]):
            yield (words[at - 1],), words[at]
