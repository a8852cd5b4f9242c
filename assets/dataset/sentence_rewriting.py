"""active_to_passive, rewriting, word_in_a_sentence: the answer is a sentence."""

from __future__ import annotations

import random

from assets.dataset.rows import Ask, RngFor, Row, capitalised, deal, take

# --- active_to_passive ---

#: Who can do any of the deeds, beside the agents of each.
ANYBODY = ("my mother", "my uncle", "our teacher", "the doctor", "the girls", "the boys")
# (past tense, past participle, agents, (object, its 'be') twice): every agent does it to every object.
DEEDS = (
    ("baked", "baked", ("my aunt", "the children"), (("the bread", "was"), ("the cakes", "were"))),
    ("built", "built", ("the workers", "the company"), (("the bridge", "was"), ("the houses", "were"))),
    ("carried", "carried", ("my father", "the men"), (("the box", "was"), ("the bags", "were"))),
    ("chased", "chased", ("the dog", "the fox"), (("the rabbit", "was"), ("the ducks", "were"))),
    ("cleaned", "cleaned", ("my brother", "the students"), (("the kitchen", "was"), ("the windows", "were"))),
    ("cooked", "cooked", ("the chef", "my father"), (("the soup", "was"), ("the potatoes", "were"))),
    ("ate", "eaten", ("the mice", "the children"), (("the cheese", "was"), ("the apples", "were"))),
    ("found", "found", ("the police", "my sister"), (("the key", "was"), ("the coins", "were"))),
    ("painted", "painted", ("the artist", "my brother"), (("the door", "was"), ("the walls", "were"))),
    ("repaired", "repaired", ("the mechanic", "our neighbour"), (("the car", "was"), ("the bicycles", "were"))),
    ("wrote", "written", ("the student", "my sister"), (("the letter", "was"), ("the poems", "were"))),
)
ASK_PASSIVE = (
    Ask("Rewrite this sentence in the passive voice.", "{active}"),
    Ask("Change the sentence from active to passive.", "{active}"),
    Ask("Turn this active sentence into a passive one.", "{active}"),
    Ask("Put this sentence into the passive: {active}"),
)


def active_to_passive(rng: random.Random) -> list[Row]:
    items = [
        {
            "active": capitalised(f"{agent} {past} {thing}."),
            "answer": capitalised(f"{thing} {be} {participle} by {agent}."),
        }
        for past, participle, agents, things in DEEDS
        for agent in (*agents, *ANYBODY)
        for thing, be in things
    ]
    return deal("active_to_passive", ASK_PASSIVE, items, rng)


# --- rewriting: as a question, in the negative, in formal English ---

# (subject as it stands inside a sentence, auxiliary, rest): both rewritings follow from the parts.
STATEMENTS = (
    ("the shop", "is", "open"),
    ("the soup", "is", "cold"),
    ("the door", "is", "locked"),
    ("my brother", "is", "at home"),
    ("Anna", "is", "in the garden"),
    ("she", "is", "a teacher"),
    ("he", "is", "ready"),
    ("it", "is", "raining"),
    ("the children", "are", "asleep"),
    ("the shops", "are", "open"),
    ("they", "are", "at school"),
    ("the windows", "are", "clean"),
    ("the train", "was", "late"),
    ("the film", "was", "long"),
    ("the tickets", "were", "expensive"),
    ("they", "were", "in the garden"),
    ("she", "can", "swim"),
    ("Peter", "can", "drive a car"),
    ("the baby", "can", "walk"),
    ("they", "can", "speak French"),
    ("the bus", "will", "stop here"),
    ("he", "will", "come to the party"),
    ("the train", "will", "be late"),
    ("she", "has", "found the key"),
    ("Anna", "has", "read the book"),
    ("they", "have", "seen the film"),
)
#: More of them: every one of these subjects with every one of these states and acts.
PERSONS = (
    "the doctor",
    "the teacher",
    "my uncle",
    "Emma",
    "Daniel",
    "our neighbour",
    "Helen",
    "George",
    "my aunt",
    "the old man",
)
STATES = (
    ("is", "in the kitchen"),
    ("is", "ready to go"),
    ("was", "at the station"),
    ("was", "very tired"),
    ("can", "play the piano"),
    ("can", "see the river"),
    ("will", "call tomorrow"),
    ("will", "wait for us"),
    ("has", "lost the ticket"),
    ("has", "cleaned the car"),
    ("is", "at work"),
    ("was", "late again"),
    ("can", "cook well"),
    ("will", "sell the house"),
    ("has", "met the manager"),
    ("has", "seen the sea"),
)
ASK_QUESTION = (
    Ask("Turn this statement into a question.", "{sentence}"),
    Ask("Rewrite the sentence as a question.", "{sentence}"),
    Ask("Make a question from this sentence: {sentence}"),
)
ASK_NEGATIVE = (
    Ask("Make this sentence negative.", "{sentence}"),
    Ask("Rewrite the sentence in the negative.", "{sentence}"),
    Ask("Turn this into a negative sentence: {sentence}"),
)
FORMAL = (
    ("I'm gonna call you tomorrow.", "I am going to call you tomorrow."),
    ("We're gonna be late.", "We are going to be late."),
    ("She's gonna visit her aunt.", "She is going to visit her aunt."),
    ("I wanna ask a question.", "I would like to ask a question."),
    ("I wanna see the manager.", "I would like to see the manager."),
    ("We wanna book a room.", "We would like to book a room."),
    ("I gotta leave now.", "I have to leave now."),
    ("You gotta sign the form.", "You have to sign the form."),
    ("We gotta wait for the bus.", "We have to wait for the bus."),
    ("Gimme a minute.", "Please give me a minute."),
    ("Gimme your address.", "Please give me your address."),
    ("Thanks a lot for the book.", "Thank you very much for the book."),
    ("Thanks a lot for your help.", "Thank you very much for your help."),
    ("Hey, can you call a taxi?", "Excuse me, could you call a taxi?"),
    ("Hey, can you help me?", "Excuse me, could you help me?"),
    ("Hey, can you open the window?", "Excuse me, could you open the window?"),
    ("My kids are at school.", "My children are at school."),
    ("The kids are in the garden.", "The children are in the garden."),
    ("I dunno the answer.", "I do not know the answer."),
    ("I dunno where he lives.", "I do not know where he lives."),
    ("Yeah, it's ready.", "Yes, it is ready."),
    ("Nope, it's closed.", "No, it is closed."),
)
ASK_FORMAL = (
    Ask("Rewrite this sentence in formal English.", "{sentence}"),
    Ask("Make this sentence more formal.", "{sentence}"),
    Ask("Put this informal sentence into formal English.", "{sentence}"),
)
QUESTIONS, NEGATIVES = 150, 150


def rewriting(rng: random.Random) -> list[Row]:
    statements = [*STATEMENTS, *((person, verb, rest) for person in PERSONS for verb, rest in STATES)]
    questions = [
        {
            "sentence": capitalised(f"{subject} {verb} {rest}."),
            "answer": capitalised(f"{verb} {subject} {rest}?"),
        }
        for subject, verb, rest in take(statements, QUESTIONS, rng)
    ]
    negatives = [
        {
            "sentence": capitalised(f"{subject} {verb} {rest}."),
            "answer": capitalised(f"{subject} {negative(verb)} {rest}."),
        }
        for subject, verb, rest in take(statements, NEGATIVES, rng)
    ]
    formal = [{"sentence": informal, "answer": answer} for informal, answer in FORMAL]
    return [
        *deal("rewriting", ASK_QUESTION, questions, rng),
        *deal("rewriting", ASK_NEGATIVE, negatives, rng),
        *deal("rewriting", ASK_FORMAL, formal, rng),
    ]


def negative(auxiliary: str) -> str:
    """'is' -> 'is not', but 'can' -> 'cannot', which is written as one word."""
    return "cannot" if auxiliary == "can" else f"{auxiliary} not"


# --- word_in_a_sentence ---

USED = (
    ("apple", "The apple fell from the tree."),
    ("baker", "The baker sells fresh bread."),
    ("bicycle", "The bicycle is next to the door."),
    ("book", "The book is on the table."),
    ("bridge", "The bridge crosses a wide river."),
    ("bus", "The bus stops near the school."),
    ("cat", "The cat sleeps on the sofa."),
    ("chair", "The chair is next to the window."),
    ("child", "The child plays in the garden."),
    ("clock", "The clock is on the wall."),
    ("cloud", "The cloud hid the sun."),
    ("coat", "The coat is behind the door."),
    ("cow", "The cow eats grass in the field."),
    ("dog", "The dog sleeps near the fire."),
    ("door", "The door was open all night."),
    ("farmer", "The farmer keeps cows and horses."),
    ("flower", "The flower grows in the garden."),
    ("garden", "The garden is full of roses."),
    ("guitar", "The guitar is in the corner."),
    ("hammer", "The hammer is in the box."),
    ("horse", "The horse runs across the field."),
    ("house", "The house is near the river."),
    ("key", "The key is in the door."),
    ("lake", "The lake freezes in winter."),
    ("letter", "The letter is on the table."),
    ("library", "The library is open on Saturday."),
    ("moon", "The moon was bright last night."),
    ("owl", "The owl sleeps during the day."),
    ("piano", "The piano is in the corner."),
    ("rain", "The rain fell all night."),
    ("river", "The river runs through the city."),
    ("school", "The school is near the park."),
    ("snow", "The snow fell all day."),
    ("station", "The station is near the bridge."),
    ("teacher", "The teacher reads a story."),
    ("train", "The train stops at every station."),
    ("tree", "The tree grows near the river."),
    ("window", "The window was open all day."),
)
ASK_USE = (
    Ask("Use the word '{word}' in a sentence."),
    Ask("Write a short sentence with the word '{word}'."),
    Ask("Write a sentence that contains this word.", "{word}"),
    Ask("Make a simple sentence with this word.", "{word}"),
)


def word_in_a_sentence(rng: random.Random) -> list[Row]:
    items = [{"word": word, "answer": sentence} for word, sentence in USED]
    return deal("word_in_a_sentence", ASK_USE, items, rng)


def rows(rng_for: RngFor) -> list[Row]:
    return [
        *active_to_passive(rng_for("active_to_passive")),
        *rewriting(rng_for("rewriting")),
        *word_in_a_sentence(rng_for("word_in_a_sentence")),
    ]
