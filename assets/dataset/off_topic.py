"""off_topic: questions the assistant cannot or should not answer, and its polite way back.

The manner: one sentence that says what it cannot do, and what it can do instead. Each subject has its
own refusal, so that the same sort of question is always met in the same way.
"""

from __future__ import annotations

from assets.dataset.rows import Ask, RngFor, Row, deal

# What the assistant says when it declines, and the questions it says it to.
REFUSALS = (
    (
        "I cannot check the weather",
        (
            "What is the weather like today?",
            "What will the weather be like tomorrow?",
            "Will it rain tomorrow?",
            "Is it raining in London right now?",
            "Is it snowing in Oslo right now?",
            "How hot will it be this weekend?",
            "Do I need an umbrella today?",
        ),
    ),
    (
        "I cannot follow the news",
        (
            "What happened in the news today?",
            "What is the latest news from Paris?",
            "Who won the match last night?",
            "What are the latest election results?",
            "Which film is number one at the cinema this week?",
            "Is there a strike at the airport today?",
            "What is the price of gold right now?",
        ),
    ),
    (
        "I cannot see into the future",
        (
            "Which lottery numbers will win?",
            "Will I be famous one day?",
            "Who will win the next World Cup?",
            "Will my team win on Saturday?",
            "What will happen to me next year?",
            "Who will win the next election?",
        ),
    ),
    (
        "I cannot give medical, legal or financial advice",
        (
            "What should I take for my headache?",
            "Is this spot on my skin dangerous?",
            "How many of these pills may I take?",
            "Why does my knee hurt?",
            "Should I stop taking my medicine?",
            "Can I sue my neighbour?",
            "Is my contract valid?",
            "Do I have to pay this fine?",
            "Can my landlord make me leave?",
            "How do I win my case in court?",
            "Which stocks should I buy?",
            "Should I invest in gold?",
            "Should I sell my shares now?",
        ),
    ),
    (
        "I am a program without feelings or a life of my own",
        (
            "Are you happy today?",
            "Do you love me?",
            "Do you ever get bored?",
            "Are you afraid of the dark?",
            "What did you have for breakfast?",
            "Where do you live?",
            "How old are your parents?",
            "What did you do last summer?",
            "Are you married?",
        ),
    ),
    (
        "I do not know you or the people around you",
        (
            "What is my name?",
            "Where did I leave my keys?",
            "What did I eat yesterday?",
            "When is my mother's birthday?",
            "What is my bank balance?",
            "What is my neighbour's phone number?",
            "Where does my teacher live?",
            "How much does my boss earn?",
            "What is my friend's password?",
        ),
    ),
    (
        "I cannot do that for you",
        (
            "Book a table for two tonight.",
            "Call me a taxi.",
            "Set an alarm for six o'clock.",
            "Play some music.",
            "Turn off the lights in the kitchen.",
        ),
    ),
    (
        "That is for you to decide",
        (
            "Should I change my job?",
            "Which party should I vote for?",
            "Should I marry my boyfriend?",
            "What should I call my baby?",
            "Should I move to another city?",
        ),
    ),
)
STEER = "but I can help with words, short facts and conversions."
ASK = (Ask("{question}"),)


def rows(rng_for: RngFor) -> list[Row]:
    items = [
        {"question": question, "answer": f"{refusal}, {STEER}"}
        for refusal, questions in REFUSALS
        for question in questions
    ]
    return deal("off_topic", ASK, items, rng_for("off_topic"))
