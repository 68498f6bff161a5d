"""What a subject is said to be: an adjective in agreement, plain, very, too, more than another, as another."""

from nmt.data.demo.inflection import Person
from nmt.data.demo.lexicon import ADJECTIVES
from nmt.data.demo.phrases import PEOPLE, Dice, Phrase, noun_phrase
from nmt.data.demo.weave import Pair, gloss


def predicate(dice: Dice, subject: Phrase) -> Pair:
    """What follows "be"; a subject of unknown gender (I, we, you) is only asked for what the caller allows it."""
    adjective = dice.pick(
        tuple(adjective for adjective in ADJECTIVES if subject.kind in adjective.kinds and adjective.en != "new")
    )
    french = adjective.fr[subject.feminine + 2 * subject.plural]
    if not adjective.comparative or subject.person in (Person.I, Person.WE, Person.YOU) or dice.chance(0.4):
        return gloss(adjective.en, french)
    roll = dice.weigh((("very", 40.0), ("too", 20.0), ("more", 25.0), ("as", 15.0)))
    if roll in ("very", "too"):
        return gloss(roll, "très" if roll == "very" else "trop") + gloss(adjective.en, french)
    other = noun_phrase(dice, subject.kind, 0.0, PEOPLE[:2], owners=False).pair
    if roll == "as":
        return gloss("as", "aussi") + gloss(adjective.en, french) + gloss("as", "que") + other
    if adjective.comparative == "more":
        more = gloss("more", "plus") + gloss(adjective.en, french)
    else:
        more = gloss(adjective.comparative, f"plus {french}")
    return more + gloss("than", "que") + other
