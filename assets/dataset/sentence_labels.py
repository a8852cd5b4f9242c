"""sentiment, punctuation, part_of_speech: what kind of sentence, or of word in it, this is."""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, deal, take

# --- sentiment ---

REVIEWED = ("film", "meal", "hotel", "book", "concert", "phone", "course", "coffee")
OPINIONS = {
    "positive": (
        "The {thing} was wonderful.",
        "I really loved the {thing}.",
        "The {thing} was excellent, and I would recommend it to everyone.",
        "I am very happy with the {thing}.",
        "The {thing} was even better than I had hoped.",
        "We were delighted with the {thing}.",
        "The {thing} was worth every penny.",
    ),
    "negative": (
        "The {thing} was terrible.",
        "I really hated the {thing}.",
        "The {thing} was awful, and I would not recommend it to anyone.",
        "I am very disappointed with the {thing}.",
        "The {thing} was even worse than I had feared.",
        "We were unhappy with the {thing}.",
        "The {thing} was a complete waste of money.",
    ),
}
ASK_SENTIMENT = (
    Ask("Is the sentiment of this sentence positive or negative?", "{sentence}"),
    Ask("Classify the sentiment of this review.", "{sentence}"),
    Ask("Decide whether this opinion is positive or negative.", "{sentence}"),
    Ask("What is the sentiment of this sentence?", "{sentence}"),
)
SENTIMENT_EACH = 56


def sentiment(rng: random.Random) -> list[Row]:
    items = []
    for label, opinions in OPINIONS.items():
        sentences = [opinion.format(thing=thing) for opinion in opinions for thing in REVIEWED]
        for sentence in take(sentences, SENTIMENT_EACH, rng):
            items.append({"sentence": sentence, "answer": f"The sentiment is {label}."})
    return deal("sentiment", ASK_SENTIMENT, items, rng)


# --- punctuation: the mark that ends a sentence ---

UNPUNCTUATED = {
    "a question mark": (
        "Where is the station",
        "What time does the train leave",
        "How old is your brother",
        "Who lives in that house",
        "Why is the shop closed",
        "When does the film start",
        "Can you open the window",
        "Do you like fresh bread",
        "Is the library open today",
        "Have you seen my keys",
        "Which bus goes to the station",
        "Are they coming to the party",
        "Does your sister play the violin",
        "How many apples do we need",
        "Where did you buy that coat",
    ),
    "a full stop": (
        "The station is near the park",
        "The train leaves at noon",
        "My brother is ten years old",
        "An old man lives in that house",
        "The shop is closed on Sunday",
        "The film starts at eight",
        "She opened the window",
        "We like fresh bread",
        "The library is open today",
        "I have found my keys",
        "This bus goes to the station",
        "They are coming to the party",
        "His sister plays the violin",
        "We need six apples",
        "He bought that coat in town",
    ),
    "an exclamation mark": (
        "What a beautiful garden",
        "What a lovely surprise",
        "What a long train that is",
        "What a strange old house",
        "What a wonderful film that was",
        "What a big dog you have",
        "What lovely flowers these are",
        "How beautiful the garden looks",
        "How kind you are",
        "How quickly the children have grown",
        "Watch out",
        "What a good idea that is",
        "Help, I am falling",
        "Hurray, we have won",
    ),
}
#: More of them: each beginning with each end. The first word tells the mark.
BEGINNINGS = {
    "a question mark": ("Where is", "When is", "Who has", "Can you see", "Do you know", "Why is"),
    "a full stop": ("I have found", "She likes", "We can see", "They know", "He is near", "Here is"),
}
ENDS = ("the old house", "the new teacher", "the garden", "the river", "the train", "the library")
ASK_MARK = (
    Ask("Which punctuation mark should end this sentence?", "{sentence}"),
    Ask("The mark at the end is missing. Which one is it?", "{sentence}"),
    Ask("Name the punctuation mark that is missing at the end.", "{sentence}"),
    Ask("How should this sentence end: with a full stop, a question mark or an exclamation mark?", "{sentence}"),
)


def punctuation(rng: random.Random) -> list[Row]:
    items = [
        {"sentence": sentence, "answer": f"The sentence should end with {mark}."}
        for mark, sentences in UNPUNCTUATED.items()
        for sentence in (*sentences, *(f"{start} {end}" for start in BEGINNINGS.get(mark, ()) for end in ENDS))
    ]
    return deal("punctuation", ASK_MARK, items, rng)


# --- part_of_speech ---

# "The ADJECTIVE NOUN VERB ADVERB."
TAGGED = (
    ("old", "dog", "barked", "loudly"),
    ("small", "child", "smiled", "happily"),
    ("tall", "man", "walked", "slowly"),
    ("young", "girl", "sang", "beautifully"),
    ("happy", "boy", "laughed", "loudly"),
    ("grey", "cat", "slept", "peacefully"),
    ("kind", "teacher", "spoke", "softly"),
    ("tired", "farmer", "walked", "slowly"),
    ("black", "horse", "ran", "quickly"),
    ("young", "singer", "smiled", "happily"),
    ("old", "man", "spoke", "slowly"),
    ("kind", "girl", "smiled", "politely"),
)
TAGS = ("an adjective", "a noun", "a verb", "an adverb")
ASK_TAG = (
    Ask("What part of speech is '{word}' in this sentence?", "{sentence}"),
    Ask("Name the part of speech of the word '{word}'.", "{sentence}"),
    Ask("Is '{word}' a noun, a verb, an adjective or an adverb here?", "{sentence}"),
)


def part_of_speech(rng: random.Random) -> list[Row]:
    items = [
        {
            "word": word,
            "sentence": f"The {' '.join(words)}.",
            "answer": f"The word '{word}' is {tag}.",
        }
        for words in TAGGED
        for word, tag in zip(words, TAGS, strict=True)
    ]
    return deal("part_of_speech", ASK_TAG, items, rng)


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *sentiment(rng_for("sentiment")),
        *punctuation(rng_for("punctuation")),
        *part_of_speech(rng_for("part_of_speech")),
    ]
