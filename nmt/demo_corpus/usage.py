"""The use of a verb in a clause: tense, negation, modal, adverb and object pronoun."""

from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import MANNER
from nmt.demo_corpus.phrases import Choices, Phrase
from nmt.demo_corpus.surface import En, Fr, Fragment
from nmt.demo_corpus.verbals import DIRECT, INDIRECT, Manner, Negation, Tense, verbal
from nmt.demo_corpus.verbs import VERBS, Frame, Verb

TENSES = ((Tense.PRESENT, 48.0), (Tense.PROGRESSIVE, 8.0), (Tense.PAST, 28.0), (Tense.FUTURE, 16.0))


def shown_tense(tense: Tense, verb: Verb, subject: Phrase) -> Tense:
    """The tense, or the present if the English form would be ambiguous or the French agreement unknown."""
    guess = verb.etre and subject.person in (Person.I, Person.WE, Person.YOU)
    if tense is Tense.PAST and (verb.stative or verb.past == "-" or guess):
        return Tense.PRESENT
    return Tense.PRESENT if tense is Tense.PROGRESSIVE and verb.stative else tense


def choose_negation(choices: Choices, subject: Phrase, question: bool) -> Negation:
    """A negation for a clause; questions have only "not"."""
    if subject.universal:  # "every baker does not sing": the scope of the negation is ambiguous
        return Negation.NONE
    if question:
        return Negation.NOT if choices.chance(0.1) else Negation.NONE
    return choices.weigh(
        ((Negation.NONE, 74.0), (Negation.NOT, 16.0), (Negation.NEVER, 6.0), (Negation.NO_LONGER, 4.0))
    )


def is_timeless(manner: Manner) -> bool:
    """Whether "every day" or "yesterday" would not be idiomatic with the negation."""
    never = manner.negation in (Negation.NEVER, Negation.NO_LONGER)
    return never or (manner.negation is Negation.NOT and manner.tense is Tense.PRESENT)


def take_modal(choices: Choices, manner: Manner, kind: str, subject: Phrase) -> None:
    """Adds a modal, or a verb that takes an infinitive, to `manner`, and adapts tense and negation."""
    if choices.chance(0.5):
        manner.tense = Tense.PRESENT
        manner.modal = choices.pick(("can", "must"))
        if manner.negation is not Negation.NONE:
            manner.negation = Negation.NONE if manner.question else Negation.NOT
        return
    manner.modal = choices.pick(tuple(verb for verb in VERBS if verb.frame is Frame.VERB and kind in verb.who))
    manner.tense = shown_tense(manner.tense, manner.modal, subject)


def with_adverb(choices: Choices, verb: Verb, manner: Manner, core: Fragment, thing: Fragment) -> Fragment:
    """In English the adverb follows the object, in French it precedes it: eats the apple quickly, mange rapidement la
    pomme."""
    usual = verb.manner and not manner.frequency and manner.negation is Negation.NONE and len(thing.en) < 6
    if not usual or manner.question or not choices.chance(0.3):
        return core + thing
    how = En(choices.pick(tuple(MANNER)))
    return Fragment([*core.en, *thing.en, how], [*core.fr, Fr(MANNER[how.text], (how,)), *thing.fr])


def with_clitic(choices: Choices, subject: Phrase, verb: Verb, manner: Manner, table: dict[str, str]) -> Fragment:
    """An object pronoun: in English after the verb, in French before it; "to him" is lui."""
    kinds = verb.objects
    words = ["it", "them", "it"] if not set(kinds) & set("pa") else ["him", "her", "them"]
    if kinds in ("p", "pa") and (manner.tense is not Tense.PAST or table is INDIRECT):
        # The gender of me, us and you is unknown, so a participle could not agree; and "I see me" would be reflexive.
        words += {Person.I: ["you"], Person.WE: ["you"], Person.YOU: ["me", "us"]}.get(
            subject.person, ["me", "us", "you"]
        )
    word = En(choices.pick(words))
    clitic = Fr(table[word.text], (word,))
    if table is DIRECT:
        manner.agrees = (word.text == "her", word.text == "them")
    pair = verbal(subject, verb, manner, [clitic])
    if table is INDIRECT and verb.particle:
        clitic.of = (pair.en[-1], word)  # "to him"
    return pair + Fragment([word])
