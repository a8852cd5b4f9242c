"""synonyms, antonyms, definitions, similes: what a word means and what it is likened to."""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, capitalised, deal, take, with_article

# --- synonyms and antonyms: every pair is asked both ways, and no word is in two pairs of a table ---

SYNONYMS = (
    ("afraid", "scared"),
    ("big", "large"),
    ("brave", "courageous"),
    ("buy", "purchase"),
    ("choose", "select"),
    ("clever", "intelligent"),
    ("correct", "right"),
    ("difficult", "hard"),
    ("error", "mistake"),
    ("fast", "quick"),
    ("gift", "present"),
    ("glad", "happy"),
    ("help", "assist"),
    ("huge", "enormous"),
    ("little", "small"),
    ("odd", "strange"),
    ("repair", "mend"),
    ("rich", "wealthy"),
    ("shout", "yell"),
    ("shut", "close"),
    ("start", "begin"),
    ("terrible", "awful"),
)
ASK_SYNONYM = (
    Ask("What is another word for '{word}'?"),
    Ask("Give a synonym of '{word}'."),
    Ask("Name a word that means the same as this one.", "{word}"),
    Ask("Find a synonym for this word.", "{word}"),
)

ANTONYMS = (
    ("always", "never"),
    ("buy", "sell"),
    ("cheap", "expensive"),
    ("clean", "dirty"),
    ("day", "night"),
    ("deep", "shallow"),
    ("early", "late"),
    ("easy", "difficult"),
    ("fast", "slow"),
    ("first", "last"),
    ("full", "empty"),
    ("good", "bad"),
    ("happy", "sad"),
    ("hard", "soft"),
    ("heavy", "light"),
    ("high", "low"),
    ("hot", "cold"),
    ("loud", "quiet"),
    ("love", "hate"),
    ("near", "far"),
    ("push", "pull"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("tall", "short"),
    ("thick", "thin"),
    ("true", "false"),
    ("wet", "dry"),
    ("wide", "narrow"),
)
ASK_ANTONYM = (
    Ask("What is the opposite of the word '{word}'?"),
    Ask("Give an antonym of '{word}'."),
    Ask("Name a word that means the opposite of this one.", "{word}"),
    Ask("Which word is the opposite of '{word}'?"),
)
ANTONYM_COUNT = 50


def synonyms(rng: random.Random) -> list[Row]:
    items = [{"word": word, "answer": f"A synonym of '{word}' is '{other}'."} for word, other in both_ways(SYNONYMS)]
    return deal("synonyms", ASK_SYNONYM, items, rng)


def antonyms(rng: random.Random) -> list[Row]:
    items = [
        {"word": word, "answer": f"The word '{other}' is the opposite of '{word}'."}
        for word, other in take(both_ways(ANTONYMS), ANTONYM_COUNT, rng)
    ]
    return deal("antonyms", ASK_ANTONYM, items, rng)


def both_ways(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """[('hot', 'cold')] -> [('hot', 'cold'), ('cold', 'hot')]"""
    return [pair for a, b in pairs for pair in ((a, b), (b, a))]


# --- definitions ---

# (frame, words with what completes the frame)
DEFINITIONS = (
    (
        "a person who",
        (
            ("author", "writes books"),
            ("baker", "bakes bread and cakes"),
            ("butcher", "cuts and sells meat"),
            ("carpenter", "makes things from wood"),
            ("dentist", "looks after people's teeth"),
            ("farmer", "grows crops or keeps animals"),
            ("florist", "sells flowers"),
            ("gardener", "looks after a garden"),
            ("librarian", "works in a library"),
            ("mechanic", "repairs cars and machines"),
            ("musician", "plays music"),
            ("nurse", "looks after sick people"),
            ("pilot", "flies an aircraft"),
            ("plumber", "repairs water pipes"),
            ("singer", "sings songs"),
            ("tailor", "makes clothes"),
        ),
    ),
    (
        "a place where",
        (
            ("airport", "aircraft take off and land"),
            ("bakery", "bread and cakes are made"),
            ("cinema", "films are shown"),
            ("farm", "crops are grown and animals are kept"),
            ("hospital", "sick people are treated"),
            ("library", "people can borrow books"),
            ("market", "goods are bought and sold"),
            ("museum", "interesting objects are shown"),
            ("restaurant", "meals are cooked and served"),
            ("school", "children are taught"),
            ("stadium", "sports matches are played"),
            ("theatre", "plays are performed"),
        ),
    ),
    (
        "a tool used for",
        (
            ("axe", "chopping wood"),
            ("broom", "sweeping floors"),
            ("chisel", "shaping wood or stone"),
            ("drill", "making holes"),
            ("hammer", "driving in nails"),
            ("knife", "cutting things"),
            ("needle", "sewing"),
            ("rake", "gathering leaves"),
            ("ruler", "measuring short lengths"),
            ("saw", "cutting wood"),
            ("screwdriver", "turning screws"),
            ("spade", "digging"),
            ("spanner", "turning nuts and bolts"),
        ),
    ),
)
ASK_DEFINITION = (
    Ask("What is {thing}?"),
    Ask("Define the word '{word}'."),
    Ask("Explain in one sentence what {thing} is."),
    Ask("Give a short definition of this word.", "{word}"),
)


def definitions(rng: random.Random) -> list[Row]:
    items = []
    for frame, entries in DEFINITIONS:
        for word, rest in entries:
            thing = with_article(word)
            answer = f"{capitalised(thing)} is {frame} {rest}."
            items.append({"word": word, "thing": thing, "answer": answer})
    return deal("definitions", ASK_DEFINITION, items, rng)


# --- similes ---

# (quality, what it is likened to, who or what may be said to have it)
SIMILES = (
    ("brave", "a lion", "The young soldier is"),
    ("busy", "a bee", "My sister is"),
    ("clear", "crystal", "The water is"),
    ("cold", "ice", "Her hands are"),
    ("cool", "a cucumber", "The goalkeeper is"),
    ("cunning", "a fox", "The old thief is"),
    ("deep", "the ocean", "Their love is"),
    ("dry", "a bone", "The ground is"),
    ("flat", "a pancake", "The land here is"),
    ("gentle", "a lamb", "The big dog is"),
    ("good", "gold", "The baby is"),
    ("graceful", "a swan", "The dancer is"),
    ("green", "grass", "The field is"),
    ("happy", "a lark", "The new pupil is"),
    ("hard", "stone", "The old bread is"),
    ("light", "a feather", "The empty bag is"),
    ("proud", "a peacock", "The winner is"),
    ("quiet", "a mouse", "The little girl is"),
    ("sharp", "a razor", "The knife is"),
    ("slow", "a snail", "The old bus is"),
    ("smooth", "silk", "The new cloth is"),
    ("strong", "an ox", "The farmer is"),
    ("stubborn", "a mule", "My brother is"),
    ("sweet", "honey", "The melon is"),
    ("tough", "old boots", "The meat is"),
    ("white", "snow", "The kitten is"),
    ("wise", "an owl", "Our teacher is"),
)
ASK_COMPLETE = (
    Ask("Complete the simile: as {quality} as ..."),
    Ask("Finish this comparison.", "as {quality} as ..."),
    Ask("Give a common simile with the word '{quality}'."),
)
ASK_REWRITE = (
    Ask("Rewrite this sentence with a simile.", "{sentence}"),
    Ask("Say this with a simile.", "{sentence}"),
    Ask("Replace 'very {quality}' with a simile.", "{sentence}"),
)
COMPLETE, REWRITE = 20, 20


def similes(rng: random.Random) -> list[Row]:
    complete = [
        {"quality": quality, "answer": f"As {quality} as {likeness}."}
        for quality, likeness, _ in take(SIMILES, COMPLETE, rng)
    ]
    rewrite = [
        {
            "quality": quality,
            "sentence": f"{start} very {quality}.",
            "answer": f"{start} as {quality} as {likeness}.",
        }
        for quality, likeness, start in take(SIMILES, REWRITE, rng)
    ]
    return [
        *deal("similes", ASK_COMPLETE, complete, rng),
        *deal("similes", ASK_REWRITE, rewrite, rng),
    ]


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *synonyms(rng_for("synonyms")),
        *antonyms(rng_for("antonyms")),
        *definitions(rng_for("definitions")),
        *similes(rng_for("similes")),
    ]
