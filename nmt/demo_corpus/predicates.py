"""Predicates after "be": an adjective with agreement, plain, with very or too, or compared with another noun phrase."""

from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import ADJECTIVES
from nmt.demo_corpus.phrases import PEOPLE, Choices, Phrase, noun_phrase
from nmt.demo_corpus.surface import Fragment, gloss


def predicate(choices: Choices, subject: Phrase) -> Fragment:
    """The predicate after "be"; for a subject of unknown gender (I, we, you) the caller must allow the predicates."""
    adjective = choices.pick(
        tuple(adjective for adjective in ADJECTIVES if subject.kind in adjective.kinds and adjective.en != "new")
    )
    french = adjective.fr[subject.feminine + 2 * subject.plural]
    if not adjective.comparative or subject.person in (Person.I, Person.WE, Person.YOU) or choices.chance(0.4):
        return gloss(adjective.en, french)
    roll = choices.weigh((("very", 40.0), ("too", 20.0), ("more", 25.0), ("as", 15.0)))
    if roll in ("very", "too"):
        return gloss(roll, "très" if roll == "very" else "trop") + gloss(adjective.en, french)
    other = noun_phrase(choices, subject.kind, 0.0, PEOPLE[:2], owners=False).pair
    if roll == "as":
        return gloss("as", "aussi") + gloss(adjective.en, french) + gloss("as", "que") + other
    if adjective.comparative == "more":
        more = gloss("more", "plus") + gloss(adjective.en, french)
    else:
        more = gloss(adjective.comparative, f"plus {french}")
    return more + gloss("than", "que") + other
