"""extraction, date_formats: finding one thing in a sentence, and writing a date another way.

The names are common first names with nobody behind them; the e-mail addresses are at example.com and
example.org, which are reserved for examples (RFC 2606).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta

from assets.dataset.rows import Ask, RngFor, Row, deal, take

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

# --- extraction ---

NUMBER_SENTENCES = (
    "The ticket costs {found} euros.",
    "There are {found} chairs in the room.",
    "The train leaves from platform {found}.",
    "She bought {found} apples at the market.",
    "We waited for {found} minutes.",
    "The class has {found} pupils.",
    "The bus can carry {found} people.",
)
NAMES = (
    *("Anna", "Clara", "Daniel", "Emma", "George", "Helen", "Jack", "Laura", "Martin", "Peter"),
    *("Adam", "Alan", "Alice", "Arthur", "David", "Diana", "Edward", "Frank", "Henry", "Irene"),
    *("James", "Jane", "Julia", "Kate", "Louis", "Maria", "Mark", "Oscar", "Paul", "Richard"),
    *("Robert", "Rose", "Ruth", "Sarah", "Simon", "Sophie", "Susan", "Thomas", "Victor", "William"),
)
NAME_SENTENCES = (
    "{found} lives in a small house by the sea.",
    "The letter was written by {found}.",
    "We met {found} at the station.",
    "{found} plays the piano every evening.",
    "The new teacher is called {found}.",
    "Yesterday {found} lost a blue umbrella.",
    "The prize was won by {found}.",
)
MAILBOXES = (
    *("info", "help", "office", "tickets", "news", "library", "booking", "garden", "school", "museum"),
    *("music", "kitchen", "travel", "sport", "concert", "service", "orders", "returns", "sales", "press"),
)
MAIL_SENTENCES = (
    "Please send the form to {found} before noon.",
    "You can reach us at {found} at any time.",
    "For more information, write to {found} today.",
    "Questions about the course go to {found} as before.",
    "Our new address is {found} from now on.",
    "She sent her answer to {found} last night.",
)
DATE_SENTENCES = (
    "The concert is on {found} in the town hall.",
    "The course begins on {found} this year.",
    "The shop will close on {found} for one day.",
    "They were married on {found} in a small church.",
    "The exam is on {found} at nine o'clock.",
    "Please send your answer by {found} at the latest.",
)
ASK_NUMBER = (
    Ask("Extract the number from this sentence.", "{sentence}"),
    Ask("Which number is mentioned in this sentence?", "{sentence}"),
    Ask("Find the number: {sentence}"),
)
ASK_NAME = (
    Ask("Extract the person's name from this sentence.", "{sentence}"),
    Ask("Which person is named in this sentence?", "{sentence}"),
    Ask("Find the name: {sentence}"),
)
ASK_MAIL = (
    Ask("Extract the e-mail address from this sentence.", "{sentence}"),
    Ask("Which e-mail address is given in this sentence?", "{sentence}"),
    Ask("Find the e-mail address: {sentence}"),
)
ASK_DATE = (
    Ask("Extract the date from this sentence.", "{sentence}"),
    Ask("Which date is mentioned in this sentence?", "{sentence}"),
    Ask("Find the date: {sentence}"),
)
#: Rows of each kind.
HIDDEN_EACH = 110


def extraction(rng: random.Random) -> list[Row]:
    numbers = [str(number) for number in range(4, 100)]
    mails = [f"{box}@example.{end}" for end in ("com", "org") for box in MAILBOXES]
    dates = [f"{day} {month}" for month in MONTHS for day in range(1, 29)]
    return [
        *deal("extraction", ASK_NUMBER, _hidden(numbers, NUMBER_SENTENCES, "number", rng), rng),
        *deal("extraction", ASK_NAME, _hidden(NAMES, NAME_SENTENCES, "name", rng), rng),
        *deal("extraction", ASK_MAIL, _hidden(mails, MAIL_SENTENCES, "e-mail address", rng), rng),
        *deal("extraction", ASK_DATE, _hidden(dates, DATE_SENTENCES, "date", rng), rng),
    ]


def _hidden(values: Sequence[str], sentences: Sequence[str], kind: str, rng: random.Random) -> list[dict[str, str]]:
    """Values hidden in sentences, no sentence twice."""
    pairs = take([(value, sentence) for value in values for sentence in sentences], HIDDEN_EACH, rng)
    return [
        {"sentence": sentence.format(found=value), "answer": f"The {kind} is {value}."} for value, sentence in pairs
    ]


# --- date_formats ---

ASK_TO_LONG = (
    Ask("Write this date with the name of the month.", "{iso}"),
    Ask("Write the date {iso} with the name of the month."),
    Ask("Rewrite this date (day/month/year) with the name of the month.", "{slashes}"),
)
ASK_TO_ISO = (
    Ask("Write this date in the form YYYY-MM-DD.", "{long}"),
    Ask("Convert {long} to the ISO date format."),
    Ask("Give the ISO form of this date.", "{long}"),
)
TO_LONG, TO_ISO = 20, 16
FIRST_DAY, LAST_DAY = date(2015, 1, 1), date(2024, 12, 31)


def date_formats(rng: random.Random) -> list[Row]:
    days = take(range((LAST_DAY - FIRST_DAY).days + 1), TO_LONG + TO_ISO, rng)
    dates = [FIRST_DAY + timedelta(days=offset) for offset in days]
    to_long = [{**_date_slots(day), "answer": long_date(day)} for day in dates[:TO_LONG]]
    to_iso = [{**_date_slots(day), "answer": day.isoformat()} for day in dates[TO_LONG:]]
    return [
        *deal("date_formats", ASK_TO_LONG, to_long, rng),
        *deal("date_formats", ASK_TO_ISO, to_iso, rng),
    ]


def _date_slots(day: date) -> dict[str, str]:
    slashes = f"{day.day:02d}/{day.month:02d}/{day.year}"
    return {"iso": day.isoformat(), "long": long_date(day), "slashes": slashes}


def long_date(day: date) -> str:
    """date(2021, 3, 4) -> '4 March 2021'; not strftime, whose month names follow the locale."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *extraction(rng_for("extraction")),
        *date_formats(rng_for("date_formats")),
    ]
