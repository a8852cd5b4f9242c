"""capitals, short_facts, true_or_false: lasting facts only, none that the news could change."""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, capitalised, deal, take, with_article
from assets.dataset.vocabulary import GROUPS

# --- capitals: the answer is one sentence, asked from the country or from the city ---

CAPITALS = (
    ("Argentina", "Buenos Aires"),
    ("Australia", "Canberra"),
    ("Austria", "Vienna"),
    ("Belgium", "Brussels"),
    ("Bulgaria", "Sofia"),
    ("Canada", "Ottawa"),
    ("Chile", "Santiago"),
    ("China", "Beijing"),
    ("Croatia", "Zagreb"),
    ("Cuba", "Havana"),
    ("Denmark", "Copenhagen"),
    ("Egypt", "Cairo"),
    ("Estonia", "Tallinn"),
    ("Finland", "Helsinki"),
    ("France", "Paris"),
    ("Germany", "Berlin"),
    ("Ghana", "Accra"),
    ("Greece", "Athens"),
    ("Hungary", "Budapest"),
    ("Iceland", "Reykjavik"),
    ("India", "New Delhi"),
    ("Ireland", "Dublin"),
    ("Italy", "Rome"),
    ("Japan", "Tokyo"),
    ("Kenya", "Nairobi"),
    ("Latvia", "Riga"),
    ("Mexico", "Mexico City"),
    ("Morocco", "Rabat"),
    ("New Zealand", "Wellington"),
    ("Norway", "Oslo"),
    ("Peru", "Lima"),
    ("Poland", "Warsaw"),
    ("Portugal", "Lisbon"),
    ("Romania", "Bucharest"),
    ("South Korea", "Seoul"),
    ("Spain", "Madrid"),
    ("Sweden", "Stockholm"),
    ("Thailand", "Bangkok"),
    ("Turkey", "Ankara"),
    ("Uruguay", "Montevideo"),
)
ASK_CAPITAL = (
    Ask("What is the capital city of {country}?"),
    Ask("Name the capital of {country}."),
    Ask("Which city is the capital of this country?", "{country}"),
)
ASK_COUNTRY = (
    Ask("Which country has {city} as its capital?"),
    Ask("{city} is the capital of which country?"),
    Ask("Of which country is this city the capital?", "{city}"),
)
FROM_COUNTRY, FROM_CITY = 30, 24


def capitals(rng: random.Random) -> list[Row]:
    from_country = take(CAPITALS, FROM_COUNTRY, rng)
    from_city = take(CAPITALS, FROM_CITY, rng)
    return [
        *deal("capitals", ASK_CAPITAL, [_capital(*pair) for pair in from_country], rng),
        *deal("capitals", ASK_COUNTRY, [_capital(*pair) for pair in from_city], rng),
    ]


def _capital(country: str, city: str) -> dict[str, str]:
    return {"country": country, "city": city, "answer": f"{city} is the capital of {country}."}


# --- short_facts ---

ELEMENTS = (
    ("calcium", "Ca"),
    ("carbon", "C"),
    ("copper", "Cu"),
    ("gold", "Au"),
    ("helium", "He"),
    ("hydrogen", "H"),
    ("iron", "Fe"),
    ("lead", "Pb"),
    ("nitrogen", "N"),
    ("oxygen", "O"),
    ("silver", "Ag"),
    ("sodium", "Na"),
    ("tin", "Sn"),
    ("zinc", "Zn"),
)
ASK_ELEMENT = (
    Ask("Which chemical symbol stands for {element}?"),
    Ask("Give the chemical symbol for this element.", "{element}"),
)

YOUNG = (
    ("bear", "cub"),
    ("cat", "kitten"),
    ("cow", "calf"),
    ("deer", "fawn"),
    ("dog", "puppy"),
    ("duck", "duckling"),
    ("goat", "kid"),
    ("goose", "gosling"),
    ("horse", "foal"),
    ("lion", "cub"),
    ("sheep", "lamb"),
    ("swan", "cygnet"),
)
ASK_YOUNG = (
    Ask("What is a young {animal} called?"),
    Ask("Give the name for the young of this animal.", "{animal}"),
)

# (question, answer)
COUNTS = (
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("How many legs does an insect have?", "An insect has six legs."),
    ("How many legs does a horse have?", "A horse has four legs."),
    ("How many wheels does a bicycle have?", "A bicycle has two wheels."),
    ("How many wheels does a tricycle have?", "A tricycle has three wheels."),
    ("How many sides does a triangle have?", "A triangle has three sides."),
    ("How many sides does a square have?", "A square has four sides."),
    ("How many sides does a pentagon have?", "A pentagon has five sides."),
    ("How many sides does a hexagon have?", "A hexagon has six sides."),
    ("How many sides does an octagon have?", "An octagon has eight sides."),
    ("How many days does a week have?", "A week has seven days."),
    ("How many months does a year have?", "A year has twelve months."),
    ("How many hours does a day have?", "A day has twenty-four hours."),
    ("How many minutes does an hour have?", "An hour has sixty minutes."),
    ("How many letters does the English alphabet have?", "The English alphabet has twenty-six letters."),
    ("How many strings does a violin have?", "A violin has four strings."),
)
ASK_COUNT = (
    Ask("{question}"),
    Ask("Answer this question in one short sentence.", "{question}"),
)


def short_facts(rng: random.Random) -> list[Row]:
    elements = [
        {"element": name, "answer": f"{symbol} is the chemical symbol for {name}."} for name, symbol in ELEMENTS
    ]
    young = [{"animal": animal, "answer": f"A young {animal} is called a {name}."} for animal, name in YOUNG]
    counts = [{"question": question, "answer": answer} for question, answer in COUNTS]
    return [
        *deal("short_facts", ASK_ELEMENT, elements, rng),
        *deal("short_facts", ASK_YOUNG, young, rng),
        *deal("short_facts", ASK_COUNT, counts, rng),
    ]


# --- true_or_false ---

TRUE_STATEMENTS = (
    "Ice is frozen water.",
    "The Sun is a star.",
    "A week has seven days.",
    "Bees make honey.",
    "Fish live in water.",
    "A triangle has three sides.",
    "The Moon goes round the Earth.",
    "January is the first month of the year.",
)
FALSE_STATEMENTS = (
    "Ice is hotter than steam.",
    "The Sun is a planet.",
    "A week has nine days.",
    "Cows lay eggs.",
    "Fish have feathers.",
    "A triangle has five sides.",
    "The Earth goes round the Moon.",
    "March is the first month of the year.",
)
ASK_TRUTH = (
    Ask("Is this statement true or false?", "{statement}"),
    Ask("True or false: {statement}"),
    Ask("Decide whether the statement is true or false.", "{statement}"),
)
CAPITAL_STATEMENTS, KIND_STATEMENTS, NUMBER_STATEMENTS = 5, 6, 20


def true_or_false(rng: random.Random) -> list[Row]:
    statements = [(text, True) for text in TRUE_STATEMENTS]
    statements += [(text, False) for text in FALSE_STATEMENTS]
    statements += _about_capitals(rng) + _about_kinds(rng) + _about_numbers(rng)
    items = [
        {"statement": text, "answer": f"The statement is {'true' if truth else 'false'}."} for text, truth in statements
    ]
    return deal("true_or_false", ASK_TRUTH, items, rng)


def _about_capitals(rng: random.Random) -> list[tuple[str, bool]]:
    chosen = take(CAPITALS, 3 * CAPITAL_STATEMENTS, rng)
    right, wrong = chosen[:CAPITAL_STATEMENTS], chosen[CAPITAL_STATEMENTS:]
    true = [(f"{city} is the capital of {country}.", True) for country, city in right]
    # Country and city of a false statement come from two different pairs of the table.
    false = [
        (f"{city} is the capital of {country}.", False)
        for (country, _), (_, city) in zip(wrong[::2], wrong[1::2], strict=True)
    ]
    return true + false


def _about_kinds(rng: random.Random) -> list[tuple[str, bool]]:
    every_word = [(group, word) for group in GROUPS for word in group.words]
    statements = []
    for number, (group, word) in enumerate(take(every_word, 2 * KIND_STATEMENTS, rng)):
        truth = number % 2 == 0
        kind = group if truth else rng.choice([other for other in GROUPS if other != group])
        thing = capitalised(with_article(word))
        statements.append((f"{thing} is {with_article(kind.singular)}.", truth))
    return statements


def _about_numbers(rng: random.Random) -> list[tuple[str, bool]]:
    statements = []
    for number in range(2 * NUMBER_STATEMENTS):
        truth = number % 2 == 0
        small, large = sorted(take(range(2, 100), 2, rng))
        pair = (large, small) if truth else (small, large)
        statements.append((f"{pair[0]} is greater than {pair[1]}.", truth))
    return statements


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *capitals(rng_for("capitals")),
        *short_facts(rng_for("short_facts")),
        *true_or_false(rng_for("true_or_false")),
    ]
