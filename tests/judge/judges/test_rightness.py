"""What the built-in judge says of answers whose rightness is plain to a reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.results.split import Example
from stages.judge.judges.kinds import Corpus
from stages.judge.judges.rightness import assess
from stages.judge.judges.rows import read_row

RIGHT, WRONG, OPEN = True, False, None


def found(instruction, given, reference, answer, rows=()):
    return assess(answer, read_row(instruction, given, reference, Corpus(rows)))


ZINC = ("What is the chemical symbol for zinc?", "", "Zn.")
NOVEL = ("Who wrote 'Emma'?", "", "The author of 'Emma' is Jane Austen.")
METRES = ("Convert 4 kilometres to metres.", "", "4 kilometres is 4000 metres.")
CLOUD = ("Which cloud brings thunderstorms?", "", "The cloud that brings thunderstorms is the cumulonimbus.")
OSLO = ("What is the capital of Norway?", "", "The capital of Norway is Oslo.")
SUM = ("What is 7 x 8?", "", "The answer is 56.")
SPELLING = (
    "Correct the spelling mistake.",
    "I will atend the party.",
    "The correct spelling is 'attend', not 'atend'.",
)
VERB = ("Name the verb in this sentence.", "The old dog barked.", "The verb in the sentence is 'barked'.")
MARK = ("Is it a statement, a question or an exclamation?", "How late it is!", "Exclamation.")
TRUTH = ("Is the statement true or false?", "The sun rises in the west.", "False. It rises in the east.")
GREATER = ("Which number is greater, 12 or 21?", "", "21 is greater than 12.")
PASSIVE = ("Put this sentence into the passive.", "The cook tasted the soup.", "The soup was tasted by the cook.")
NEGATIVE = ("Make this sentence negative.", "The shop is open.", "The shop is not open.")
QUOTED = (
    "Correct the sentence.",
    "She go to school by bus.",
    "The corrected sentence is: 'She goes to school by bus.'",
)
SORTED = ("Sort these numbers from smallest to largest.", "31, 70, 32, 7", "7, 31, 32, 70")
NAMES = ("Put these names in order.", "Ruth, Adam, Jack", "In alphabetical order: Adam, Jack, Ruth")
GROUPS = ("Say which are birds and which are fish.", "owl, trout, robin", "Birds: owl, robin\nFish: trout")
ODD = (
    "Which word is the odd one out?",
    "pear, plum, car, fig",
    "The odd one out is 'car', because the others are fruits.",
)
EXTRACT = ("Extract the number.", "The ticket costs 42 euros.", "The number is 42.")
CASE = ("Put in the capital letters.", "anna lives in rome.", "Anna lives in Rome.")
SHORT = ("Write this with a contraction.", "I do not know.", "I don't know.")
ISO = ("Write the date 4 March 2021 as YYYY-MM-DD.", "", "2021-03-04")
WHEN = ("When did the war end?", "", "The war ended on 8 May 1945.")
SIMILE = ("Rewrite the sentence with a simile.", "The car is very fast.", "The car is as fast as lightning.")
USE = ("Use the word 'lamp' in a sentence.", "", "The lamp is on the table.")
MILES = ("Convert 5 miles to kilometres.", "", "5 miles is about 8.05 kilometres.")
SYNONYM = ("Give a synonym of 'big'.", "", "A synonym of 'big' is 'large'.")
OFFERED = ("Which of these is a synonym of 'big'?", "red, large, slow", "large")
MADRID = ("Correct the statement.", "The capital of Spain is Barcelona.", "The capital of Spain is Madrid.")
PRIME = ("Is 21 a prime number?", "", "No, 21 is not a prime number.")
WHALE = ("Is a whale a fish?", "", "No, a whale is a mammal.")
EAST = ("Does the sun rise in the east?", "", "Yes, the sun rises in the east.")
RUST = ("Can copper rust?", "", "No.")
PAINTER = ("Who painted the Mona Lisa?", "", "The Mona Lisa was painted by Leonardo da Vinci.")
HOBBIT = ("Which author wrote 'The Hobbit'?", "", "J. R. R. Tolkien wrote 'The Hobbit'.")
KING = ("Who was crowned in 1702?", "", "William Henry III was crowned.")
OCEAN = ("Which is the largest ocean?", "", "The largest ocean is the Pacific Ocean.")
BODY = ("How warm is the human body?", "", "The human body has 37 degrees Celsius.")
MARATHON = ("How long is a marathon?", "", "A marathon is 42.195 kilometres long.")
BAG = ("What does the bag weigh?", "", "It weighs 1 kilogram.")
SPEED = ("What is the formula for speed?", "", "The formula is speed = distance ÷ time.")
LABELS = ("Sort these into fruits and vegetables.", "leek, plum, fig", "Fruits: plum, fig\nVegetables: leek")
NUMBERS = ("Which numbers are prime, which are composite?", "5, 6, 7", "Prime numbers: 5, 7\nComposite numbers: 6")
TONE = ("Is the remark polite or rude?", "Get out!", "Rude.")
ADVERB = (
    "Replace 'in a quiet voice' by an adverb.",
    "She read the letter in a quiet voice.",
    "She read the letter quietly.",
)
ANTONYM = ("Give an antonym of 'loud'.", "", "An antonym of 'loud' is 'quiet'.")
DEGREE = ("What is the abbreviation of 'Master of Science'?", "", "The abbreviation of 'Master of Science' is MSc.")
BRACKETS = ("Translate 'tired' into Spanish.", "", "Cansado (of a man), cansada (of a woman).")
FORMAL = ("Say this in formal English.", "Yeah, it's over.", "Yes, it is over.")
DATE = ("Find the date: The market opens on 27 May in the old station.", "", "The date is 27 May.")
TWO = ("Which of these two numbers is greater?", "4, 13", "13 is greater than 4.")
FIBONACCI = ("Name the next numbers: 1, 1.", "", "2, 3, 5, 8")


@pytest.mark.parametrize(
    ("row", "answer", "right"),
    [
        # the same in other words, shorter or longer
        (ZINC, "Zn", RIGHT),
        (ZINC, "The chemical symbol for zinc is Zn.", RIGHT),
        (NOVEL, "Jane Austen.", RIGHT),
        (NOVEL, "It was written by Jane Austen, an English novelist.", RIGHT),
        (METRES, "4,000 m", RIGHT),
        (METRES, "Four kilometers are four thousand meters.", RIGHT),
        (CLOUD, "A cumulonimbus.", RIGHT),
        (OSLO, "It is Oslo.", RIGHT),
        (OSLO, "oslo", RIGHT),
        (SUM, "7 x 8 = 56", RIGHT),
        (SUM, "fifty-six", RIGHT),
        (WHEN, "1945-05-08", RIGHT),
        (WHEN, "It ended on May 8, 1945.", RIGHT),
        (DATE, "It is May 27.", RIGHT),
        (DATE, "27th of May", RIGHT),
        # a wrong fact in the reference's words
        (DATE, "The date is 27 November.", WRONG),
        (DATE, "The date is 26 May.", WRONG),
        (ZINC, "The chemical symbol for zinc is Z.", WRONG),
        (NOVEL, "The author of 'Emma' is Charlotte Bronte.", WRONG),
        (NOVEL, "The author of 'Emma' is Jane Eyre.", WRONG),
        (METRES, "4 kilometres is 400 metres.", WRONG),
        (METRES, "4 kilometres is 4000 kilometres.", WRONG),
        (CLOUD, "The cloud that brings thunderstorms is the cumulus.", WRONG),
        (OSLO, "The capital of Norway is Bergen.", WRONG),
        (SUM, "The answer is 54.", WRONG),
        (SUM, "The answer is 56 or 54.", WRONG),
        (WHEN, "The war ended on 9 May 1945.", WRONG),
        (MILES, "8.047 km", RIGHT),
        (MILES, "5 miles is about 8.5 kilometres.", WRONG),
        (MILES, "5 miles is about 8 kilometres.", WRONG),
        # denied, or one of two
        (OSLO, "The capital of Norway is not Oslo.", WRONG),
        (OSLO, "Oslo isn't the capital of Norway.", WRONG),
        (OSLO, "Oslo or Bergen.", WRONG),
        # what is asked, and nothing else
        (OSLO, "What is the capital of Norway?", WRONG),
        (OSLO, "Norway", WRONG),
        (VERB, "The old dog barked.", WRONG),
        # one of what is offered
        (MARK, "The sentence is an exclamation.", RIGHT),
        (MARK, "It is a question.", WRONG),
        (MARK, "It is a statement, a question or an exclamation.", WRONG),
        (TRUTH, "The statement is false.", RIGHT),
        (TRUTH, "True.", WRONG),
        (TRUTH, "The sun rises in the east.", WRONG),
        # a part of what is given
        (VERB, "barked", RIGHT),
        (VERB, "The verb in the sentence is 'dog'.", WRONG),
        (EXTRACT, "42", RIGHT),
        (EXTRACT, "The number is 24.", WRONG),
        (ODD, "car", RIGHT),
        (ODD, "The odd one out is 'pear', because the others are fruits.", WRONG),
        (ODD, "car and fig", WRONG),
        (SPELLING, "attend", RIGHT),
        (SPELLING, "The correct spelling is 'atend'.", WRONG),
        # order
        (GREATER, "21", RIGHT),
        (GREATER, "12", WRONG),
        (GREATER, "12 is greater than 21.", WRONG),
        (TWO, "Of the two, 13 is greater.", RIGHT),
        (TWO, "2 is greater than 13.", WRONG),
        (TWO, "13 is greater than 2.", WRONG),
        (SORTED, "Sorted: 7, 31, 32 and 70.", RIGHT),
        (SORTED, "7, 32, 31, 70", WRONG),
        (NAMES, "Adam, Jack, Ruth", RIGHT),
        (NAMES, "Adam, Ruth, Jack", WRONG),
        (GROUPS, "Fish: trout\nBirds: robin, owl", RIGHT),
        (GROUPS, "Birds: owl, trout\nFish: robin", WRONG),
        (FIBONACCI, "They are 2, 3, 5, 8.", RIGHT),
        (FIBONACCI, "2, 5, 3, 8", WRONG),
        # yes and no, in so many words or as a statement
        (PRIME, "No", RIGHT),
        (PRIME, "21 is not prime because it is 3 times 7.", RIGHT),
        (PRIME, "It isn't.", RIGHT),
        (PRIME, "The answer is no.", RIGHT),
        (PRIME, "21 is a prime number.", WRONG),
        (PRIME, "21 is not an even number.", WRONG),
        (PRIME, "It is.", WRONG),
        (PRIME, "Yes, 21 is not a prime number.", WRONG),
        (PRIME, "There are no words.", WRONG),
        (WHALE, "A whale is not a fish; it is a mammal.", RIGHT),
        (WHALE, "It is a mammal.", RIGHT),
        (WHALE, "A whale is a fish.", WRONG),
        (WHALE, "A whale is not a mammal.", WRONG),
        (EAST, "The sun rises in the east.", RIGHT),
        (EAST, "Yes, there is no doubt of that.", RIGHT),
        (EAST, "The sun does not rise in the east.", WRONG),
        (EAST, "The moon rises in the east.", WRONG),
        (RUST, "Copper can not rust.", RIGHT),
        (RUST, "Copper can rust.", WRONG),
        # names
        (NOVEL, "Austen", RIGHT),
        (NOVEL, "Miss Austen wrote it.", RIGHT),
        (NOVEL, "J. Austen", RIGHT),
        (NOVEL, "Jane", WRONG),
        (NOVEL, "Henry Austen", WRONG),
        (NOVEL, "henry austen", WRONG),
        (NOVEL, "Austen Smith", WRONG),
        (NOVEL, "Austen and Bronte", WRONG),
        (PAINTER, "Da Vinci.", RIGHT),
        (PAINTER, "It was Leonardo.", WRONG),
        (PAINTER, "Antonio Vinci", WRONG),
        (HOBBIT, "Tolkien", RIGHT),
        (HOBBIT, "JRR Tolkien", RIGHT),
        (HOBBIT, "Christopher Tolkien", WRONG),
        (KING, "III", WRONG),
        (OCEAN, "Ocean", WRONG),
        # the same in another unit
        (BODY, "37 °C (98.6 °F)", RIGHT),
        (BODY, "37 degrees C, which is 310.15 K", RIGHT),
        (BODY, "37 °C (90 °F)", WRONG),
        (BODY, "37 degrees Fahrenheit", WRONG),
        (BODY, "98.6 °F", WRONG),
        (MARATHON, "42.195 km or 26.2 miles", RIGHT),
        (MARATHON, "42.195 km or 30 miles", WRONG),
        (MARATHON, "42.195 miles", WRONG),
        (BAG, "One kilogram, about 2.2 pounds", RIGHT),
        (BAG, "1 pound", WRONG),
        # formulas and abbreviations
        (SPEED, "Speed is distance divided by time.", RIGHT),
        (SPEED, "speed = distance / time", RIGHT),
        (SPEED, "speed = distance x time", WRONG),
        (DEGREE, "M.Sc. or MSc", WRONG),
        (DEGREE, "MSC", RIGHT),
        (BRACKETS, "Cansado, cansada", RIGHT),
        # groups in other words
        (LABELS, "Plum and fig are fruits; leek is a vegetable.", RIGHT),
        (LABELS, "A plum is a fruit, a leek is a vegetable and a fig is a fruit.", RIGHT),
        (LABELS, "A plum is a fruit, a leek is a fruit and a fig is a vegetable.", WRONG),
        (LABELS, "Leek and fig are fruits, plum is a vegetable.", WRONG),
        (NUMBERS, "Prime: 5 and 7. Composite: 6.", RIGHT),
        (NUMBERS, "Prime: 5 and 6. Composite: 7.", WRONG),
        # what is denied contradicts nothing
        (TONE, "It is not polite but rude.", RIGHT),
        (TONE, "It is rude, not polite.", RIGHT),
        (TONE, "It is not rude but polite.", WRONG),
        # sentences
        (PASSIVE, "The soup was tasted by the cook yesterday.", WRONG),
        (PASSIVE, "Yesterday the soup was tasted by the cook.", WRONG),
        (PASSIVE, "The passive is: The soup was tasted by the cook. It was good.", RIGHT),
        (FORMAL, "Yes, it is over!", RIGHT),
        (FORMAL, "Yes, it is closed.", WRONG),
        (ADVERB, "She quietly read the letter.", RIGHT),
        (ADVERB, "The letter quietly read she.", WRONG),
        (ADVERB, "She loudly read the letter.", WRONG),
        (PASSIVE, 'In the passive: "The soup was tasted by the cook."', RIGHT),
        (PASSIVE, "The soup was tasted by a cook", RIGHT),
        (PASSIVE, "The cook was tasted by the soup.", WRONG),
        (PASSIVE, "The soup was tasted by the guest.", WRONG),
        (NEGATIVE, "The shop isn't open.", RIGHT),
        (NEGATIVE, "The shop is open.", WRONG),
        (NEGATIVE, "The bar is not open.", WRONG),
        (QUOTED, "She goes to school by bus.", RIGHT),
        (QUOTED, "She went to school by bus.", WRONG),
        # form
        (CASE, "It should be: Anna lives in Rome", RIGHT),
        (CASE, "Anna lives in rome.", WRONG),
        (SHORT, "I don't know.", RIGHT),
        (SHORT, "I do not know!", WRONG),
        (ISO, "It is 2021-03-04.", RIGHT),
        (ISO, "04/03/2021", WRONG),
        # denied far from the key word
        (OSLO, "It is not true that the capital of Norway is Oslo.", WRONG),
        (OSLO, "Oslo is wrong.", WRONG),
        (OSLO, "Many say Oslo, but that is a mistake.", WRONG),
        (OSLO, "Oslo? No.", WRONG),
        (OSLO, "The capital is anything but Oslo.", WRONG),
        (OSLO, "There is no doubt that it is Oslo.", RIGHT),
        (OSLO, "Some say Bergen, but that is wrong: it is Oslo.", RIGHT),
        (OSLO, "No city other than Oslo.", RIGHT),
        (PRIME, "It is not true that 21 is not prime.", WRONG),
        (PRIME, "It is wrong that 21 is prime.", RIGHT),
        (PASSIVE, 'The passive is not "The soup was tasted by the cook."', WRONG),
        (PASSIVE, '"The soup was tasted by the cook." is wrong.', WRONG),
        (MADRID, "No, the capital of Spain is Madrid.", RIGHT),
        (MADRID, "No, the capital of Spain is Barcelona.", WRONG),
        (MADRID, "No capital of Spain is Madrid.", WRONG),
        (ISO, "It is not 2021-03-04.", WRONG),
        (GREATER, "It is not true that 21 is greater than 12.", WRONG),
        # candidates, of which none is chosen
        (OSLO, "Oslo, Bergen or Stavanger.", WRONG),
        (OSLO, "One of these: Bergen, Oslo, Trondheim", WRONG),
        (OSLO, "Bergen / Oslo", WRONG),
        (OSLO, "Perhaps Oslo, perhaps Bergen.", WRONG),
        (OSLO, "Oslo, Norway", RIGHT),
        (OSLO, "Oslo, a city by the sea", RIGHT),
        (ZINC, "Zn, Zi, In", WRONG),
        # about something else
        (OSLO, "The capital of Sweden is Oslo.", WRONG),
        (OSLO, "Oslo is the capital of Denmark.", WRONG),
        (OSLO, "Oslo is the capital of Norway and of nothing else.", RIGHT),
        (NOVEL, "Jane Austen wrote 'Persuasion'.", WRONG),
        (PRIME, "No, 22 is not a prime number.", WRONG),
        (WHALE, "No. A dolphin is no fish.", RIGHT),
        # again and again
        (OSLO, "Oslo Oslo Oslo Oslo", WRONG),
        (OSLO, "It is Oslo. It is Oslo. It is Oslo.", WRONG),
        (SUM, "56", RIGHT),
        # open
        (SIMILE, "The car is as fast as lightning!", OPEN),
        (SIMILE, "The car is as fast as a cheetah.", OPEN),
        (SIMILE, "The car is very fast.", OPEN),
        (SIMILE, "as as as as", OPEN),
        (SIMILE, "A bird sings.", OPEN),
        (SYNONYM, "large", OPEN),
        (SYNONYM, "A synonym of 'big' is 'huge'.", OPEN),
        (SYNONYM, "A synonym of 'big' is 'big'.", OPEN),
        (SYNONYM, "A synonym of 'small' is 'little'.", OPEN),
        (SYNONYM, "huge", OPEN),
        (SYNONYM, "hugehugehuge", OPEN),
        (SYNONYM, "not large", OPEN),
        (SYNONYM, "The old dog barked.", OPEN),
        (ANTONYM, "An antonym of 'loud' is 'soft'.", OPEN),
        (ANTONYM, "quiet", OPEN),
        (ANTONYM, "loud", OPEN),
        (OFFERED, "It is 'large'.", RIGHT),
        (OFFERED, "red", WRONG),
        (USE, "We bought a new lamp.", RIGHT),
        (USE, "The moon is bright.", WRONG),
        (USE, "lamp", WRONG),
        (USE, "The book is on the table.", WRONG),
    ],
)
def test_whether_an_answer_is_right(row, answer, right):
    finding = found(*row, answer)
    assert finding.right is right, finding.why
    assert (finding.score is None) == (right is None)
    assert right is None or (finding.score >= 80) == right


def test_every_row_is_right_by_its_own_reference():
    rows = (
        ZINC,
        NOVEL,
        METRES,
        CLOUD,
        SUM,
        SPELLING,
        VERB,
        MARK,
        TRUTH,
        GREATER,
        PASSIVE,
        QUOTED,
        SORTED,
        NAMES,
        GROUPS,
    )
    assert [found(*row, row[2]).right for row in (*rows, ODD, EXTRACT, CASE, SHORT, ISO, WHEN, USE)] == [True] * 22
    assert found(*SIMILE, SIMILE[2]).right is None


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.sampled_from([row[2] for row in (SIMILE, SYNONYM, OSLO, USE)])))
def test_which_rows_are_open_does_not_depend_on_the_answer(answer):
    """So the number of rows that "right" counts is that of the rows, whatever a model says."""
    assert [found(*row, answer).right for row in (SIMILE, SYNONYM, ANTONYM)] == [None] * 3
    assert None not in [found(*row, answer).right for row in (OSLO, USE, PASSIVE, CASE, SORTED)]


CAPITALS = {"Peru": "Lima", "Japan": "Tokyo", "Kenya": "Nairobi", "Cuba": "Havana", "Norway": "Oslo"}
ROWS = [
    Example(
        id=land,
        instruction=f"What is the capital of {land}?",
        input="",
        output=f"{land} has its seat in {city}.",
        category="",
    )
    for land, city in CAPITALS.items()
]


def test_the_form_of_a_kind_decides_nothing_and_the_answers_of_its_rows_contradict():
    peru = ("What is the capital of Peru?", "", "Peru has its seat in Lima.")
    assert found(*peru, "Lima", ROWS).right
    assert not found(*peru, "Lima").right  # without the train rows "seat" is as rare as "Lima"
    assert found(*peru, "Lima and Tokyo", ROWS).why == "key words: lima; against: tokyo"
    assert not found(*peru, "Lima and Tokyo", ROWS).right
    assert found(*peru, "Lima, a city by the sea", ROWS).right
    mexico = Example(
        id="Mexico",
        instruction="What is the capital of Mexico?",
        input="",
        output="Mexico has its seat in Mexico City.",
        category="",
    )
    # "city" is a part of an answer that has a given word too, and no answer by itself
    assert found(*peru, "Lima, a city by the sea", [*ROWS, mexico]).right


def test_an_answer_about_another_row_is_wrong():
    row = ("Is 77 odd or even?", "", "The number 77 is odd.")
    assert found(*row, "The number 77 is odd.").right
    assert found(*row, "The number 78 is odd.").why == "key words: odd; against: 78"


def test_a_label_has_one_right_form_however_long_it_is():
    refusal = "Sorry, weather forecasts need instruments, satellites and patience."
    rows = [
        Example(id=str(n), instruction=f"Will it rain {n}?", input="", output=refusal, category="") for n in range(2)
    ]
    assert found("Is it snowing?", "", refusal, "Sorry, no idea about snow.", rows).right is False
    assert found("Is it snowing?", "", refusal, "Sorry, no idea about snow.").right is None


def test_points_by_hand():
    """Of two key words of equal weight one is there: half of the 50 that a wrong answer can have; contradicted, two
    fifths of that. Two of three numbers are in their places: (2/3)² of 50. Four superfluous words are one more than
    are free, which costs 2 points."""
    row = ("Name the painter.", "", "Anna Ancher.")
    assert found(*row, "Anna Boberg.").score == 25.0
    assert found(*row, "Not Anna Boberg.").score == 10.0
    assert found("Sort these numbers.", "3, 2, 1", "1, 2, 3", "1, 2, 2").score == 22.22
    assert found(*row, "Anna Ancher, famous painter, loved light.").score == 100.0
    assert found(*row, "Anna Ancher, famous, loved bright light.").score == 98.0
