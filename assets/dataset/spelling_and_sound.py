"""spelling, counting, rhymes: the letters, words and sounds a text is made of."""

from __future__ import annotations

import random

from assets.dataset.meanings import both_ways
from assets.dataset.rows import Ask, RngFor, Row, deal, take
from assets.dataset.vocabulary import GROUPS

# --- spelling ---

# (word, two common ways to get it wrong, a sentence with its place). Words that British and American
# writers spell differently are left out.
MISSPELT = (
    ("address", ("adress", "addres"), "Please write your {word} on the form."),
    ("answer", ("anser", "awnser"), "Nobody knew the right {word}."),
    ("beautiful", ("beatiful", "beautifull"), "The garden looks {word} in spring."),
    ("because", ("becuase", "becouse"), "We stayed at home {word} it was raining."),
    ("believe", ("beleive", "belive"), "I {word} that you are right."),
    ("business", ("buisness", "bussiness"), "She runs a small {word} in town."),
    ("definitely", ("definately", "definitly"), "I will {word} come to the party."),
    ("different", ("diffrent", "differant"), "We took a {word} road home."),
    ("enough", ("enogh", "enouhg"), "We have {word} bread for today."),
    ("February", ("Febuary", "Februery"), "Her birthday is in {word}."),
    ("foreign", ("foriegn", "foregn"), "They often travel to {word} countries."),
    ("friend", ("freind", "frend"), "My best {word} lives next door."),
    ("government", ("goverment", "governmant"), "The {word} will build a new school."),
    ("immediately", ("immediatly", "imediately"), "Call me {word} if there is a problem."),
    ("language", ("langauge", "languige"), "She speaks a second {word} at home."),
    ("library", ("libary", "librery"), "The {word} closes at noon on Saturday."),
    ("necessary", ("neccessary", "necesary"), "It is not {word} to book a table."),
    ("occasion", ("ocasion", "occassion"), "Her birthday was a happy {word}."),
    ("people", ("poeple", "peaple"), "Many {word} were waiting at the station."),
    ("question", ("queston", "qestion"), "May I ask you a {word}?"),
    ("receive", ("recieve", "receeve"), "Did you {word} my letter?"),
    ("restaurant", ("restarant", "resturant"), "We had dinner in a small {word}."),
    ("separate", ("seperate", "separete"), "Please put the glass in a {word} bin."),
    ("tomorrow", ("tommorow", "tomorow"), "The exam is {word} morning."),
)
ASK_SENTENCE = (
    Ask("Correct the spelling mistake in this sentence.", "{sentence}"),
    Ask("One word is spelt wrongly. How should it be spelt?", "{sentence}"),
    Ask("Find the misspelt word and give its correct spelling.", "{sentence}"),
)
ASK_WORD = (
    Ask("Correct the spelling of '{wrong}'."),
    Ask("How is this word really spelt?", "{wrong}"),
    Ask("The word '{wrong}' is misspelt. What is the correct spelling?"),
)


def spelling(rng: random.Random) -> list[Row]:
    in_sentence, alone = [], []
    for word, wrongs, sentence in MISSPELT:
        first, second = take(wrongs, 2, rng)
        answer = f"The correct spelling is '{word}'."
        in_sentence.append({"sentence": sentence.format(word=first), "answer": answer})
        alone.append({"wrong": second, "answer": answer})
    return [
        *deal("spelling", ASK_SENTENCE, in_sentence, rng),
        *deal("spelling", ASK_WORD, alone, rng),
    ]


# --- counting ---

COUNTED_SENTENCES = (
    "Birds sing.",
    "The sun is shining.",
    "Snow fell all night.",
    "We like fresh bread.",
    "She plays the violin.",
    "He reads every evening.",
    "The cat sleeps on the sofa.",
    "My brother has a new bicycle.",
    "The bus was late again today.",
    "They live near the old bridge.",
    "I drink tea in the morning.",
    "Our garden is full of roses.",
    "The children are playing in the park.",
    "We bought apples and pears this morning.",
    "The train to the city leaves soon.",
    "Her sister works in a large hospital.",
    "The dog ran across the wet green field.",
    "My uncle keeps three horses on his farm.",
    "He put the letter in a brown envelope.",
    "You can see the sea from this window.",
)
ASK_LETTERS = (
    Ask("How many letters are there in the word '{word}'?"),
    Ask("Count the letters in this word.", "{word}"),
    Ask("How many letters does '{word}' have?"),
)
ASK_WORDS = (
    Ask("How many words are there in this sentence?", "{sentence}"),
    Ask("Count the words in this sentence.", "{sentence}"),
)
LETTER_WORDS = 24


def counting(rng: random.Random) -> list[Row]:
    every_word = [word for group in GROUPS for word in group.words]
    letters = [
        {"word": word, "answer": f"The word '{word}' has {len(word)} letters."}
        for word in take(every_word, LETTER_WORDS, rng)
    ]
    words = [
        {"sentence": sentence, "answer": f"The sentence has {len(sentence.split())} words."}
        for sentence in COUNTED_SENTENCES
    ]
    return [
        *deal("counting", ASK_LETTERS, letters, rng),
        *deal("counting", ASK_WORDS, words, rng),
    ]


# --- rhymes ---

# No word is in two pairs.
RHYMES = (
    ("ball", "wall"),
    ("big", "pig"),
    ("boat", "coat"),
    ("book", "hook"),
    ("cake", "lake"),
    ("cat", "hat"),
    ("cold", "gold"),
    ("day", "play"),
    ("duck", "truck"),
    ("face", "race"),
    ("fish", "dish"),
    ("game", "name"),
    ("green", "queen"),
    ("hot", "pot"),
    ("house", "mouse"),
    ("king", "ring"),
    ("light", "night"),
    ("mice", "rice"),
    ("moon", "spoon"),
    ("nose", "rose"),
    ("rain", "train"),
    ("star", "car"),
)
ASK_RHYME = (
    Ask("Name a word that rhymes with '{word}'."),
    Ask("What rhymes with '{word}'?"),
    Ask("Find a rhyme for this word.", "{word}"),
)


def rhymes(rng: random.Random) -> list[Row]:
    items = [
        {"word": word, "answer": f"A word that rhymes with '{word}' is '{other}'."} for word, other in both_ways(RHYMES)
    ]
    return deal("rhymes", ASK_RHYME, items, rng)


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *spelling(rng_for("spelling")),
        *counting(rng_for("counting")),
        *rhymes(rng_for("rhymes")),
    ]
