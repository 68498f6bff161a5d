"""Clauses: a subject, a verb and its complements; relative clauses, places, people, comparisons."""

from dataclasses import replace
from typing import NamedTuple

from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import FEELINGS, FREQUENCY, MEN, WOMEN
from nmt.demo_corpus.phrases import (
    NEGATED,
    OBJECTS,
    PEOPLE,
    PLACED,
    Choices,
    Phrase,
    any_mass,
    city,
    listed,
    mass_noun,
    name_phrase,
    noun_phrase,
    pronoun,
)
from nmt.demo_corpus.predicates import predicate
from nmt.demo_corpus.surface import En, Fr, Fragment, gloss
from nmt.demo_corpus.usage import (
    TENSES,
    choose_negation,
    is_timeless,
    shown_tense,
    take_modal,
    with_adverb,
    with_clitic,
)
from nmt.demo_corpus.verbals import DIRECT, INDIRECT, Manner, Negation, Tense, copula, verbal
from nmt.demo_corpus.verbs import VERBS, Frame, Place, Verb

FRAMES = (
    (Frame.OBJECT, 46.0), (Frame.ALONE, 16.0), (Frame.PLACE, 12.0), (Frame.GIVE, 9.0), (Frame.TO_PERSON, 5.0),
    (Frame.MASS, 7.0), (Frame.GENERIC, 5.0),
)  # fmt: skip
# Locations for all actions: English, French, kinds.
LOCATIONS = (
    (Place("in", "dans", "i"), 30.0),
    (Place("at", "à", "o"), 18.0),
    (Place("in", "à", "city"), 10.0),
    (Place("near", "près de", "liso"), 12.0),
    (Place("behind", "derrière", "ls"), 9.0),
    (Place("in front of", "devant", "lo"), 6.0),
)
SPOTS = ((Place("on", "sur", "s"), 20.0), (Place("under", "sous", "s"), 12.0), *LOCATIONS)


def located(choices: Choices, place: Place, rich: float) -> Fragment:
    """A preposition and its noun; if the English verb needs no preposition (enters), the caller adds the French one."""
    head = gloss(place.en, place.fr)
    if place.kinds == "city":
        return head + city(choices)
    return (
        head
        + with_relative(
            choices, noun_phrase(choices, place.kinds, 0.5 * rich, PLACED, singular=0.9), 0.6 * rich, 1
        ).pair
    )


def subject_phrase(choices: Choices, rich: float, *, kinds: str = "ppppa", depth: int = 0) -> Phrase:
    """A person, an animal, a pronoun, a name, or two of them, optionally with a relative clause."""
    roll = choices.weigh((("noun", 62.0), ("name", 12.0), ("pronoun", 20.0 - 12.0 * rich), ("list", 4.0 + 10.0 * rich)))
    if roll == "pronoun":
        return pronoun(choices.pick(("I", "we", "you", "he", "he", "she", "she", "they", "they")))
    if roll == "name" or (roll == "list" and choices.chance(0.3)):
        phrase = name_phrase(choices.pick(MEN + WOMEN))
        return phrase if roll == "name" else listed([phrase, noun_phrase(choices, "p", 0.0, PEOPLE, owners=False)])
    if roll == "list":
        return listed(
            [
                noun_phrase(choices, "p", 0.3 * rich, PEOPLE, owners=False)
                for _ in range(3 if choices.chance(0.2) else 2)
            ]
        )
    phrase = noun_phrase(choices, choices.pick(kinds), rich)
    return with_relative(choices, phrase, rich, depth)


def object_phrase(
    choices: Choices, kinds: str, rich: float, negation: Negation = Negation.NONE, *, depth: int = 0
) -> Phrase:
    """A direct object; after a negated verb the indefinite article is de."""
    if negation is not Negation.NONE:
        return noun_phrase(choices, kinds, 0.5 * rich, NEGATED, owners=False)
    if "p" in kinds and choices.chance(0.12):
        return name_phrase(choices.pick(MEN + WOMEN))
    phrase = noun_phrase(choices, kinds, rich, OBJECTS)
    if choices.chance(0.2 * rich):
        others = [
            noun_phrase(choices, phrase.kind, 0.4 * rich, OBJECTS, owners=False)
            for _ in range(2 if choices.chance(0.25) else 1)
        ]
        return listed([phrase, *others])
    return with_relative(choices, phrase, rich, depth)


def with_relative(choices: Choices, head: Phrase, rich: float, depth: int) -> Phrase:
    """The phrase, optionally with a relative clause: who, that (qui, que), where (où)."""
    if head.closed or depth > 1 or not choices.chance(0.42 * rich):
        return head
    if head.kind in "io":
        clause = _relative_where(choices)
    elif head.kind in "pa" and choices.chance(0.6):
        clause = _relative_subject(choices, head, rich, depth)
    else:
        clause = _relative_object(choices, head)
    return replace(head, pair=head.pair + clause, closed=True)


def _relative_subject(choices: Choices, head: Phrase, rich: float, depth: int) -> Fragment:
    who = En("who" if head.kind == "p" else "that")
    subject = replace(head, pair=Fragment([who], [Fr("qui", (who,))]))
    return clause(choices, subject, choices.weigh(TENSES), 0.4 * rich, depth=depth + 1, being=0.1).pair


def _simple_subject(choices: Choices) -> Phrase:
    if choices.chance(0.35):
        return pronoun(choices.pick(("I", "we", "you", "he", "she", "they")))
    if choices.chance(0.3):
        return name_phrase(choices.pick(MEN + WOMEN))
    return noun_phrase(choices, "p", 0.0, PEOPLE, owners=False)


def _relative_object(choices: Choices, head: Phrase) -> Fragment:
    that = En("that")
    subject = _simple_subject(choices)
    fitting = [
        verb for verb in VERBS
        if verb.frame is Frame.OBJECT and head.kind in verb.objects and not verb.tail and verb.base != "have"
    ]  # fmt: skip
    verb = choices.pick(fitting)
    negation = Negation.NOT if choices.chance(0.12) else Negation.NONE
    manner = Manner(shown_tense(choices.weigh(TENSES), verb, subject), negation, agrees=(head.feminine, head.plural))
    return Fragment([that], [Fr("que", (that,))]) + verbal(subject, verb, manner)


def _relative_where(choices: Choices) -> Fragment:
    verb = choices.pick(
        tuple(verb for verb in VERBS if verb.frame is Frame.ALONE and verb.base not in ("go", "wake", "hurry"))
    )
    where = gloss("where", "où")
    subject = _simple_subject(choices)
    return where + verbal(subject, verb, Manner(shown_tense(choices.weigh(TENSES), verb, subject)))


class Clause(NamedTuple):
    """A clause with its tense; `timeless`: a time ("every day") would not be idiomatic."""

    pair: Fragment
    tense: Tense
    timeless: bool


def clause(
    choices: Choices,
    subject: Phrase,
    tense: Tense,
    rich: float,
    *,
    question: bool = False,
    depth: int = 0,
    being: float = 0.16,
) -> Clause:
    """Subject, verb and complements; `being`: the probability of the verb "be". For the tense see shown_tense."""
    if choices.chance(being):
        return _being(choices, subject, tense, rich, question)
    return _doing(choices, subject, tense, rich, question, depth)


def _being(choices: Choices, subject: Phrase, tense: Tense, rich: float, question: bool) -> Clause:
    tense = Tense.PRESENT if tense is Tense.PROGRESSIVE else tense
    negation = choose_negation(choices, subject, question)
    if tense is not Tense.PRESENT and negation is not Negation.NONE:
        negation = Negation.NOT
    manner = Manner(tense, negation, question)
    timeless = is_timeless(manner) or subject.kind not in "pa"
    if tense is Tense.PRESENT and subject.kind in "pa" and choices.chance(0.2):
        feeling = choices.pick(tuple(FEELINGS))
        pair = copula(subject, manner, feeling=True)
        return Clause(pair + gloss(feeling, FEELINGS[feeling]), tense, timeless)
    if subject.kind not in "iol" and (subject.person in (Person.I, Person.WE, Person.YOU) or choices.chance(0.35)):
        pair = copula(subject, manner)
        return Clause(
            pair + located(choices, choices.weigh(SPOTS if subject.kind in "atfcr" else LOCATIONS), rich),
            tense,
            timeless,
        )
    pair = copula(subject, manner)
    return Clause(pair + predicate(choices, subject), tense, timeless)


def _doing(choices: Choices, subject: Phrase, tense: Tense, rich: float, question: bool, depth: int) -> Clause:
    kind = subject.kind
    frame = choices.weigh(FRAMES)
    fitting = [verb for verb in VERBS if verb.frame is frame and kind in verb.who]
    if not fitting:  # for example, an animal does not lend: choose another verb
        fitting = [verb for verb in VERBS if verb.frame is Frame.OBJECT and kind in verb.who]
    verb = choices.pick(fitting)
    tense = shown_tense(tense, verb, subject)
    negation = choose_negation(choices, subject, question)
    manner = Manner(tense, negation, question)
    if (tense is not Tense.PRESENT and negation is Negation.NO_LONGER) or (
        tense is Tense.PROGRESSIVE and negation is Negation.NEVER
    ):
        manner.negation = Negation.NOT
    if not verb.stative and tense in (Tense.PRESENT, Tense.PAST) and not verb.tail and choices.chance(0.15):
        take_modal(choices, manner, kind, subject)
    elif (
        negation is Negation.NONE and tense in (Tense.PRESENT, Tense.PAST) and not verb.stative and choices.chance(0.12)
    ):
        manner.frequency = choices.pick(tuple(FREQUENCY))
    timeless = verb.stative or bool(manner.frequency) or is_timeless(manner)
    return Clause(
        _complete(choices, subject, verb, manner, rich, depth), manner.tense, timeless or isinstance(manner.modal, Verb)
    )


def _complete(choices: Choices, subject: Phrase, verb: Verb, manner: Manner, rich: float, depth: int) -> Fragment:
    """The verb with the complements of its frame."""
    match verb.frame:
        case Frame.ALONE:
            pair = with_adverb(choices, verb, manner, verbal(subject, verb, manner), Fragment())
            return (
                pair + located(choices, choices.weigh(LOCATIONS), rich) if choices.chance(0.25 + 0.3 * rich) else pair
            )
        case Frame.PLACE:
            place = choices.pick(verb.places)
            pair = verbal(subject, verb, manner)
            goal = located(choices, place, rich)
            if not place.en:  # "enters": entre dans
                main = pair.en[-1]
                goal.fr[0] = replace(goal.fr[0], of=(main,))
            return pair + goal
        case Frame.OBJECT:
            return _with_object(choices, subject, verb, manner, rich, depth)
        case Frame.GIVE:
            return _with_gift(choices, subject, verb, manner, rich)
        case Frame.TO_PERSON:
            if choices.chance(0.35):
                return with_clitic(choices, subject, verb, manner, INDIRECT)
            pair = verbal(subject, verb, manner)
            # "talks to the man": parle à; "answers the man": répond à, where the source of à is the verb.
            source = pair.en[-1]
            receiver = noun_phrase(choices, verb.objects, 0.5 * rich, PEOPLE)
            return pair + Fragment([], [Fr("à", (source,))]) + receiver.pair
        case Frame.MASS | Frame.GENERIC:
            negated = manner.negation is not Negation.NONE
            thing = mass_noun(any_mass(choices, verb.objects), verb.frame is Frame.MASS, negated)
            return verbal(subject, verb, manner) + thing
        case Frame.THAT | Frame.VERB:
            raise AssertionError(f"{verb.base} takes a clause or a verb, which is not a complement")


def _with_object(choices: Choices, subject: Phrase, verb: Verb, manner: Manner, rich: float, depth: int) -> Fragment:
    if not verb.tail and verb.base != "have" and choices.chance(0.2):
        return with_clitic(choices, subject, verb, manner, DIRECT)
    negation = Negation.NONE if verb.tail else manner.negation
    if verb.tail:  # avoir besoin de: no "de des"
        thing = noun_phrase(choices, verb.objects, rich, PLACED, singular=0.8)
    else:
        thing = object_phrase(choices, verb.objects, rich, negation, depth=depth)
    pair = with_adverb(choices, verb, manner, verbal(subject, verb, manner), thing.pair)
    short = len(thing.pair.en) < 6 and not manner.question
    return (
        pair + located(choices, choices.weigh(LOCATIONS), rich) if short and choices.chance(0.1 + 0.2 * rich) else pair
    )


def _with_gift(choices: Choices, subject: Phrase, verb: Verb, manner: Manner, rich: float) -> Fragment:
    """Gives the book to the girl, gives him the book (lui donne le livre), gives it to him (le lui donne)."""
    roll = choices.weigh((("phrase", 55.0), ("clitic", 32.0), ("both", 13.0)))
    if roll == "both":
        thing, to, who = En(choices.pick(("it", "them"))), En("to"), En(choices.pick(("him", "her", "them")))
        manner.agrees = (False, thing.text == "them")
        clitics = [Fr(DIRECT[thing.text], (thing,)), Fr(INDIRECT[who.text], (to, who))]
        return verbal(subject, verb, manner, clitics) + Fragment([thing, to, who])
    gift = object_phrase(choices, verb.objects, 0.0 if roll == "phrase" else rich, manner.negation)
    if roll == "clitic":
        word = En(choices.pick(("him", "her", "them")))
        pair = verbal(subject, verb, manner, [Fr(INDIRECT[word.text], (word,))])
        return pair + Fragment([word]) + gift.pair
    to = En("to")
    if choices.chance(0.25):
        receiver = name_phrase(choices.pick(MEN + WOMEN))
    else:
        receiver = with_relative(choices, noun_phrase(choices, "p", 0.5 * rich, PEOPLE), rich, 1)
    return verbal(subject, verb, manner) + gift.pair + Fragment([to], [Fr("à", (to,))]) + receiver.pair
