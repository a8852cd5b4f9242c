"""verb_tenses, plurals, comparatives, contractions, abbreviations: a word and another form of it."""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, deal, take

# --- verb_tenses ---

# (base, past tense, past participle)
VERBS = (
    ("begin", "began", "begun"),
    ("break", "broke", "broken"),
    ("bring", "brought", "brought"),
    ("buy", "bought", "bought"),
    ("carry", "carried", "carried"),
    ("catch", "caught", "caught"),
    ("choose", "chose", "chosen"),
    ("come", "came", "come"),
    ("dance", "danced", "danced"),
    ("drink", "drank", "drunk"),
    ("drive", "drove", "driven"),
    ("eat", "ate", "eaten"),
    ("find", "found", "found"),
    ("fly", "flew", "flown"),
    ("give", "gave", "given"),
    ("go", "went", "gone"),
    ("grow", "grew", "grown"),
    ("keep", "kept", "kept"),
    ("know", "knew", "known"),
    ("leave", "left", "left"),
    ("make", "made", "made"),
    ("open", "opened", "opened"),
    ("plan", "planned", "planned"),
    ("play", "played", "played"),
    ("run", "ran", "run"),
    ("see", "saw", "seen"),
    ("sing", "sang", "sung"),
    ("sleep", "slept", "slept"),
    ("smile", "smiled", "smiled"),
    ("speak", "spoke", "spoken"),
    ("stop", "stopped", "stopped"),
    ("study", "studied", "studied"),
    ("swim", "swam", "swum"),
    ("take", "took", "taken"),
    ("teach", "taught", "taught"),
    ("tell", "told", "told"),
    ("think", "thought", "thought"),
    ("try", "tried", "tried"),
    ("walk", "walked", "walked"),
    ("write", "wrote", "written"),
)
ASK_TENSE = (
    Ask("What is the {form} of the verb '{word}'?"),
    Ask("Give the {form} of the verb '{word}'."),
    Ask("Write the {form} of this verb.", "{word}"),
    Ask("Which form of '{word}' is its {form}?"),
)
PAST, PARTICIPLE = 28, 20


def verb_tenses(rng: random.Random) -> list[Row]:
    chosen = [("past tense", base, past) for base, past, _ in take(VERBS, PAST, rng)]
    chosen += [("past participle", base, done) for base, _, done in take(VERBS, PARTICIPLE, rng)]
    items = [
        {"form": form, "word": base, "answer": f"The {form} of '{base}' is '{word}'."} for form, base, word in chosen
    ]
    return deal("verb_tenses", ASK_TENSE, items, rng)


# --- plurals ---

PLURALS = (
    ("apple", "apples"),
    ("car", "cars"),
    ("dog", "dogs"),
    ("house", "houses"),
    ("table", "tables"),
    ("box", "boxes"),
    ("bus", "buses"),
    ("church", "churches"),
    ("dish", "dishes"),
    ("fox", "foxes"),
    ("peach", "peaches"),
    ("watch", "watches"),
    ("baby", "babies"),
    ("cherry", "cherries"),
    ("city", "cities"),
    ("country", "countries"),
    ("lorry", "lorries"),
    ("story", "stories"),
    ("boy", "boys"),
    ("day", "days"),
    ("key", "keys"),
    ("monkey", "monkeys"),
    ("half", "halves"),
    ("knife", "knives"),
    ("leaf", "leaves"),
    ("life", "lives"),
    ("loaf", "loaves"),
    ("shelf", "shelves"),
    ("thief", "thieves"),
    ("wolf", "wolves"),
    ("roof", "roofs"),
    ("hero", "heroes"),
    ("potato", "potatoes"),
    ("tomato", "tomatoes"),
    ("photo", "photos"),
    ("piano", "pianos"),
    ("child", "children"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("man", "men"),
    ("mouse", "mice"),
    ("ox", "oxen"),
    ("sheep", "sheep"),
    ("deer", "deer"),
    ("tooth", "teeth"),
    ("woman", "women"),
)
ASK_PLURAL = (
    Ask("What is the plural of '{word}'?"),
    Ask("Write the plural form of this noun.", "{word}"),
    Ask("Give the plural of the noun '{word}'."),
    Ask("Turn this singular noun into the plural.", "{word}"),
)


def plurals(rng: random.Random) -> list[Row]:
    items = [{"word": one, "answer": f"The plural of '{one}' is '{many}'."} for one, many in PLURALS]
    return deal("plurals", ASK_PLURAL, items, rng)


# --- comparatives ---

COMPARISONS = (
    ("bad", "worse", "worst"),
    ("beautiful", "more beautiful", "most beautiful"),
    ("big", "bigger", "biggest"),
    ("busy", "busier", "busiest"),
    ("careful", "more careful", "most careful"),
    ("cold", "colder", "coldest"),
    ("dangerous", "more dangerous", "most dangerous"),
    ("difficult", "more difficult", "most difficult"),
    ("easy", "easier", "easiest"),
    ("expensive", "more expensive", "most expensive"),
    ("fast", "faster", "fastest"),
    ("good", "better", "best"),
    ("happy", "happier", "happiest"),
    ("heavy", "heavier", "heaviest"),
    ("hot", "hotter", "hottest"),
    ("important", "more important", "most important"),
    ("interesting", "more interesting", "most interesting"),
    ("large", "larger", "largest"),
    ("long", "longer", "longest"),
    ("old", "older", "oldest"),
    ("small", "smaller", "smallest"),
    ("strong", "stronger", "strongest"),
    ("tall", "taller", "tallest"),
    ("wide", "wider", "widest"),
)
ASK_COMPARISON = (
    Ask("What is the {form} of '{word}'?"),
    Ask("Give the {form} form of the adjective '{word}'."),
    Ask("Write the {form} of this adjective.", "{word}"),
)


def comparatives(rng: random.Random) -> list[Row]:
    items = []
    for word, comparative, superlative in COMPARISONS:
        for form, answer in (("comparative", comparative), ("superlative", superlative)):
            items.append({"form": form, "word": word, "answer": f"The {form} of '{word}' is '{answer}'."})
    return deal("comparatives", ASK_COMPARISON, items, rng)


# --- contractions ---

CONTRACTIONS = (
    ("are not", "aren't"),
    ("cannot", "can't"),
    ("could not", "couldn't"),
    ("did not", "didn't"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("had not", "hadn't"),
    ("has not", "hasn't"),
    ("have not", "haven't"),
    ("he will", "he'll"),
    ("I am", "I'm"),
    ("I have", "I've"),
    ("I will", "I'll"),
    ("is not", "isn't"),
    ("let us", "let's"),
    ("must not", "mustn't"),
    ("she will", "she'll"),
    ("should not", "shouldn't"),
    ("they are", "they're"),
    ("they have", "they've"),
    ("was not", "wasn't"),
    ("we are", "we're"),
    ("we have", "we've"),
    ("were not", "weren't"),
    ("will not", "won't"),
    ("would not", "wouldn't"),
    ("you are", "you're"),
    ("you have", "you've"),
)
# "he's" is 'he is' or 'he has', so these are only asked from the long form to the short one.
AMBIGUOUS_CONTRACTIONS = (
    ("he is", "he's"),
    ("it is", "it's"),
    ("she is", "she's"),
    ("that is", "that's"),
    ("there is", "there's"),
    ("who is", "who's"),
)
ASK_CONTRACT = (
    Ask('What is the contraction of "{long}"?'),
    Ask("Write these words as a contraction.", "{long}"),
    Ask('Shorten "{long}" with an apostrophe.'),
)
ASK_EXPAND = (
    Ask('What does the contraction "{short}" stand for?'),
    Ask("Write this contraction in full.", "{short}"),
)
CONTRACT, EXPAND = 24, 16


def contractions(rng: random.Random) -> list[Row]:
    to_short = take(CONTRACTIONS + AMBIGUOUS_CONTRACTIONS, CONTRACT, rng)
    to_long = take(CONTRACTIONS, EXPAND, rng)
    return [
        *deal("contractions", ASK_CONTRACT, [_contraction(*pair) for pair in to_short], rng),
        *deal("contractions", ASK_EXPAND, [_contraction(*pair) for pair in to_long], rng),
    ]


def _contraction(long: str, short: str) -> dict[str, str]:
    answer = f'The contraction "{short}" stands for "{long}".'
    return {"long": long, "short": short, "answer": answer}


# --- abbreviations ---

ABBREVIATIONS = (
    ("AI", "artificial intelligence"),
    ("ASAP", "as soon as possible"),
    ("BBC", "British Broadcasting Corporation"),
    ("CEO", "chief executive officer"),
    ("CPU", "central processing unit"),
    ("CV", "curriculum vitae"),
    ("DIY", "do it yourself"),
    ("Dec.", "December"),
    ("Dr", "Doctor"),
    ("EU", "European Union"),
    ("FAQ", "frequently asked questions"),
    ("Feb.", "February"),
    ("GPS", "Global Positioning System"),
    ("IT", "information technology"),
    ("Jan.", "January"),
    ("Mon.", "Monday"),
    ("NASA", "National Aeronautics and Space Administration"),
    ("PDF", "Portable Document Format"),
    ("PIN", "personal identification number"),
    ("TV", "television"),
    ("UK", "United Kingdom"),
    ("UN", "United Nations"),
    ("URL", "Uniform Resource Locator"),
    ("USA", "United States of America"),
    ("USB", "Universal Serial Bus"),
    ("VIP", "very important person"),
    ("WHO", "World Health Organization"),
    ("cm", "centimetre"),
    ("kg", "kilogram"),
    ("km", "kilometre"),
)
ASK_ABBREVIATE = (
    Ask("What is the abbreviation of '{long}'?"),
    Ask("Give the usual abbreviation.", "{long}"),
    Ask("How is '{long}' abbreviated?"),
)
ASK_SPELL_OUT = (
    Ask("What does '{short}' stand for?"),
    Ask("Write this abbreviation in full.", "{short}"),
    Ask("Explain the abbreviation '{short}'."),
)
ABBREVIATE, SPELL_OUT = 20, 18


def abbreviations(rng: random.Random) -> list[Row]:
    to_short = take(ABBREVIATIONS, ABBREVIATE, rng)
    to_long = take(ABBREVIATIONS, SPELL_OUT, rng)
    return [
        *deal("abbreviations", ASK_ABBREVIATE, [_abbreviation(*pair) for pair in to_short], rng),
        *deal("abbreviations", ASK_SPELL_OUT, [_abbreviation(*pair) for pair in to_long], rng),
    ]


def _abbreviation(short: str, long: str) -> dict[str, str]:
    answer = f"The abbreviation '{short}' stands for '{long}'."
    return {"short": short, "long": long, "answer": answer}


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *verb_tenses(rng_for("verb_tenses")),
        *plurals(rng_for("plurals")),
        *comparatives(rng_for("comparatives")),
        *contractions(rng_for("contractions")),
        *abbreviations(rng_for("abbreviations")),
    ]
