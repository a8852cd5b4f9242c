"""Rules that apply to any sentence of simple words: tense, number, capital letters, pronouns, short forms.

Every question is made of parts, and no sentence is asked about twice: a model has seen the parts of a test row in
training, and never its answer.
"""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, capitalised, deal, take

# --- past_sentences: from the present into the past ---

WHO = ("she", "he", "Anna", "Peter", "my sister", "my brother", "our neighbour", "the teacher", "the old man", "Emma")
# (present, past, what follows)
HABITS = (
    ("walks", "walked", ("to school", "to the station", "in the park")),
    ("plays", "played", ("the piano", "in the garden", "with the dog")),
    ("works", "worked", ("in a shop", "in the garden", "at the hospital")),
    ("opens", "opened", ("the window", "the door", "the letter")),
    ("cleans", "cleaned", ("the kitchen", "the car", "the windows")),
    ("watches", "watched", ("the film", "the birds", "the children")),
    ("paints", "painted", ("the door", "the house", "a picture")),
    ("buys", "bought", ("fresh bread", "a ticket", "some apples")),
    ("writes", "wrote", ("a letter", "a poem", "to a friend")),
    ("drinks", "drank", ("tea", "a glass of water", "hot milk")),
    ("sees", "saw", ("the bus", "a fox", "the sea")),
)
PAST = 300
ASK_PAST = (
    Ask("Put this sentence into the past tense.", "{sentence}"),
    Ask("Rewrite the sentence in the past tense.", "{sentence}"),
    Ask("Change this sentence to the past tense: {sentence}"),
)


def past_sentences(rng: random.Random) -> list[Row]:
    items = [
        {
            "sentence": capitalised(f"{who} {present} {rest}."),
            "answer": capitalised(f"{who} {past} {rest}."),
        }
        for who in WHO
        for present, past, rests in HABITS
        for rest in rests
    ]
    return deal("past_sentences", ASK_PAST, take(items, PAST, rng), rng)


# --- plural_sentences: from one to several ---

# (one, several)
BEINGS = (
    ("dog", "dogs"),
    ("cat", "cats"),
    ("horse", "horses"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("girl", "girls"),
    ("boy", "boys"),
    ("teacher", "teachers"),
    ("farmer", "farmers"),
    ("baby", "babies"),
    ("mouse", "mice"),
)
# (what one does, what several do, what follows)
DOINGS = (
    ("sleeps", "sleep", ("in the garden", "near the fire", "all day")),
    ("runs", "run", ("across the field", "to the door", "very fast")),
    ("sits", "sit", ("on the grass", "by the window", "near the door")),
    ("waits", "wait", ("at the station", "for the bus", "near the door")),
    ("is", "are", ("hungry", "in the kitchen", "very tired")),
    ("was", "were", ("in the park", "late again", "very quiet")),
    ("has", "have", ("brown eyes", "a long way to go", "nothing to eat")),
)
ASK_SEVERAL = (
    Ask("Put the subject of this sentence into the plural.", "{sentence}"),
    Ask("Rewrite this sentence with a plural subject.", "{sentence}"),
    Ask("Make the subject of this sentence plural: {sentence}"),
)


def plural_sentences(rng: random.Random) -> list[Row]:
    items = [
        {"sentence": f"The {one} {does} {rest}.", "answer": f"The {several} {do} {rest}."}
        for one, several in BEINGS
        for does, do, rests in DOINGS
        for rest in rests
    ]
    return deal("plural_sentences", ASK_SEVERAL, items, rng)


# --- capital_letters ---

PEOPLE = ("Anna", "Peter", "Emma", "Daniel", "Helen", "George", "Laura", "Martin", "Clara", "Jack")
CITIES = ("Paris", "London", "Rome", "Berlin", "Madrid", "Vienna", "Dublin", "Lisbon", "Prague", "Oslo")
CITY_SENTENCES = (
    "{person} lives in {city}.",
    "{person} is going to {city}.",
    "{person} was born in {city}.",
    "{person} has an aunt in {city}.",
)
CAPITALS = 300
ASK_CAPITALS = (
    Ask("Write this sentence with capital letters where they belong.", "{sentence}"),
    Ask("Correct the capital letters in this sentence.", "{sentence}"),
    Ask("Put in the capital letters: {sentence}"),
)


def capital_letters(rng: random.Random) -> list[Row]:
    right = [text.format(person=one, city=city) for one in PEOPLE for city in CITIES for text in CITY_SENTENCES]
    items = [{"sentence": sentence.lower(), "answer": sentence} for sentence in take(right, CAPITALS, rng)]
    return deal("capital_letters", ASK_CAPITALS, items, rng)


# --- pronouns ---

# Subjects by their pronoun. Of each only one does each thing, or two sentences would have one answer.
SUBJECTS = {
    "she": ("Anna", "Emma", "my sister", "the woman"),
    "he": ("Peter", "Daniel", "my brother", "the man"),
    "they": ("Anna and Peter", "the children", "my parents"),
    "we": ("my friend and I",),
}
EVENTS = (
    "came home late",
    "lost the key",
    "went to the station",
    "ate an apple",
    "sang a song",
    "found the letter",
    "closed the window",
    "will call tomorrow",
    "can speak French",
    "had a good idea",
    "opened the door",
    "bought a ticket",
    "saw the sea",
    "can swim",
    "will wait for us",
    "missed the bus",
    "wrote a letter",
    "forgot the bread",
    "will help you",
    "drank some tea",
    "cleaned the kitchen",
    "painted the door",
    "sold the car",
    "met the teacher",
    "read the news",
    "cooked the soup",
    "left the house",
    "heard the music",
    "carried the bags",
    "won the prize",
    "will come back",
    "can hear you",
    "was very tired",
    "had a headache",
    "liked the film",
    "knew the answer",
    "played in the park",
    "waited at the station",
    "slept all day",
    "fell asleep",
)
ASK_PRONOUN = (
    Ask("Replace the subject of this sentence with a pronoun.", "{sentence}"),
    Ask("Rewrite the sentence with a pronoun as its subject.", "{sentence}"),
    Ask("Use a pronoun for the subject: {sentence}"),
)


def pronouns(rng: random.Random) -> list[Row]:
    items = [
        {"sentence": capitalised(f"{rng.choice(subjects)} {event}."), "answer": capitalised(f"{pronoun} {event}.")}
        for pronoun, subjects in SUBJECTS.items()
        for event in EVENTS
    ]
    return deal("pronouns", ASK_PRONOUN, items, rng)


# --- short_forms: contractions within a sentence ---

# (in full, short)
SHORT = (
    ("I do not", "I don't"),
    ("we do not", "we don't"),
    ("they do not", "they don't"),
    ("she does not", "she doesn't"),
    ("he does not", "he doesn't"),
    ("I did not", "I didn't"),
    ("she did not", "she didn't"),
    ("they did not", "they didn't"),
    ("we cannot", "we can't"),
    ("he cannot", "he can't"),
    ("I will not", "I won't"),
    ("they will not", "they won't"),
)
DONE = (
    "know the way",
    "like cold tea",
    "eat fish",
    "see the sign",
    "need a taxi",
    "hear the music",
    "find the key",
    "speak French",
    "drive a car",
    "wait for the bus",
    "read the news",
    "work on Sunday",
    "play the piano",
    "want any bread",
    "sleep in a tent",
    "live in Rome",
    "go to school",
    "open the door",
    "drink milk",
    "swim in the sea",
)
ASK_SHORT = (
    Ask("Write this sentence with a contraction.", "{full}"),
    Ask("Use a contraction in this sentence: {full}"),
)
ASK_FULL = (
    Ask("Write this sentence without a contraction.", "{short}"),
    Ask("Replace the contraction by the full words: {short}"),
)


def short_forms(rng: random.Random) -> list[Row]:
    sentences = [
        {"full": capitalised(f"{full} {rest}."), "short": capitalised(f"{short} {rest}.")}
        for full, short in SHORT
        for rest in DONE
    ]
    chosen = take(sentences, len(sentences), rng)
    half = len(chosen) // 2
    return [
        *deal("short_forms", ASK_SHORT, [{**one, "answer": one["short"]} for one in chosen[:half]], rng),
        *deal("short_forms", ASK_FULL, [{**one, "answer": one["full"]} for one in chosen[half:]], rng),
    ]


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *past_sentences(rng_for("past_sentences")),
        *plural_sentences(rng_for("plural_sentences")),
        *capital_letters(rng_for("capital_letters")),
        *pronouns(rng_for("pronouns")),
        *short_forms(rng_for("short_forms")),
    ]
