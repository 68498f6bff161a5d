"""The verb with its auxiliaries: do-support, negation in two parts, object pronouns, compound past, inversion.

does not see him    ne le voit pas        did not see him   ne l'a pas vu
does he see         voit-il               does the cat see  le chat voit-il
wants to see him    veut le voir          has rested        s'est reposé
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from nmt.demo_corpus.inflection import Person, agree
from nmt.demo_corpus.lexicon import FREQUENCY
from nmt.demo_corpus.phrases import Phrase
from nmt.demo_corpus.surface import En, Fr, Fragment
from nmt.demo_corpus.verbs import AVOIR, ETRE, IMPERFECT_ETRE, MODALS, Frame, Verb


class Tense(Enum):
    """The simple past is the passé composé, or the imperfect for "was"."""

    PRESENT = "eats"
    PROGRESSIVE = "is eating"
    PAST = "ate"
    FUTURE = "will eat"


class Negation(Enum):
    """English, and the second part of the French negation; the first is ne."""

    NONE = ""
    NOT = "not"
    NEVER = "never"
    NO_LONGER = "no longer"


SECOND_PART = {Negation.NOT: "pas", Negation.NEVER: "jamais", Negation.NO_LONGER: "plus"}
REFLEXIVES = {Person.I: "me", Person.WE: "nous", Person.YOU: "vous", Person.HE: "se", Person.THEY: "se"}
# English object pronouns: the direct and indirect French forms.
DIRECT = {"me": "me", "him": "le", "her": "la", "it": "le", "us": "nous", "you": "vous", "them": "les"}
INDIRECT = {"me": "me", "him": "lui", "her": "lui", "us": "nous", "you": "vous", "them": "leur"}


@dataclass(slots=True)
class Manner:
    """The use of a verb in one clause.

    `question`: inverted in both languages; `frequency`: an English word of FREQUENCY; `modal`: can, must, or a verb
    that takes an infinitive; `agrees`: (feminine, plural) of an object before a participle; `que`: a question with que.
    """

    tense: Tense = Tense.PRESENT
    negation: Negation = Negation.NONE
    question: bool = False
    frequency: str = ""
    modal: str | Verb = ""
    agrees: tuple[bool, bool] = (False, False)
    que: bool = False


def _be(person: Person, past: bool = False) -> str:
    if past:
        return "was" if person in (Person.I, Person.HE) else "were"
    return {Person.I: "am", Person.HE: "is"}.get(person, "are")


def _negated(negation: Negation) -> tuple[list[En], list[Fr], list[Fr]]:
    """The English words, and the French words before and after the finite verb; "no longer" is ne and plus, word for
    word."""
    en = [En(word) for word in negation.value.split()]
    if not en:
        return [], [], []
    return en, [Fr("ne", (en[0],))], [Fr(SECOND_PART[negation], (en[-1],))]


def _inverted(subject: Phrase) -> Fr:
    text = {Person.I: "je", Person.WE: "nous", Person.YOU: "vous", Person.HE: "elle" if subject.feminine else "il"}
    return Fr(
        text.get(subject.person, "elles" if subject.feminine else "ils"),
        tuple(subject.pair.en) if subject.clitic else (),
        enclitic=True,
    )


def _ordered(
    subject: Phrase, auxiliary: list[En], rest: list[En], before: list[Fr], finite: Fr, after: list[Fr], manner: Manner
) -> Fragment:
    """Subject and verb in either order; the finite French verb is between `before` (ne, clitics) and `after`."""
    if not manner.question:
        return Fragment(subject.pair.en + auxiliary + rest, [*subject.pair.fr, *before, finite, *after])
    en = auxiliary + subject.pair.en + rest
    if manner.que and not subject.clitic:  # "Que mange le chat ?": after que the noun follows the verb
        return Fragment(en, [*before, finite, *after, *subject.pair.fr])
    noun = [] if subject.clitic else subject.pair.fr
    return Fragment(en, [*noun, *before, finite, _inverted(subject), *after])


class _Finite(NamedTuple):
    """The English verb; `of`: the sources of the finite French verb, without the particle."""

    auxiliary: list[En]
    main: En
    of: tuple[En, ...]


def _finite(verb: Verb, manner: Manner, person: Person) -> _Finite:
    """The modal, auxiliary or do-support of a verb, and the form of the verb."""
    head = manner.modal if isinstance(manner.modal, Verb) else verb
    third, past = person is Person.HE, manner.tense is Tense.PAST
    if isinstance(manner.modal, str) and manner.modal:
        modal = En("cannot" if manner.modal == "can" and manner.negation is Negation.NOT else manner.modal)
        return _Finite([modal], En(verb.base), (modal,))
    if manner.tense is Tense.PROGRESSIVE:
        auxiliary, main = En(_be(person)), En(head.ing)
        return _Finite([auxiliary], main, (auxiliary, main))
    if manner.tense is Tense.FUTURE:
        auxiliary, main = En("will"), En(head.base)
        return _Finite([auxiliary], main, (auxiliary, main))
    if manner.question or manner.negation is Negation.NOT:
        auxiliary, main = En("did" if past else "does" if third else "do"), En(head.base)
        return _Finite([auxiliary], main, (auxiliary,) if past else (main,))
    main = En(head.past if past else head.third if third else head.base)
    return _Finite([], main, (main,))


def verbal(subject: Phrase, verb: Verb, manner: Manner, clitics: Sequence[Fr] = ()) -> Fragment:
    """Subject and verb, without complements: "the cat does not see", "le chat ne le voit pas" with a clitic le.

    `clitics`: French object pronouns in order; the caller adds the English ones after the verb.
    """
    person, tense = subject.person, manner.tense
    head = manner.modal if isinstance(manner.modal, Verb) else verb
    negation, ne, second = _negated(manner.negation)
    often = [En(manner.frequency)] if manner.frequency else []
    adverb = [Fr(FREQUENCY[word.text], (word,)) for word in often]
    particle = [En(verb.particle)] if verb.particle else []
    auxiliary, main, finite_of = _finite(verb, manner, person)
    if auxiliary and auxiliary[0].text == "cannot":
        negation, ne, second = [], [Fr("ne", (auxiliary[0],))], [Fr("pas", (auxiliary[0],))]

    lexical = main  # the English word of the verb itself
    english = [*negation, *often, main]
    if head is not verb:
        to, lexical = En("to"), En(verb.base)
        english += [to, lexical]
        link = [Fr(head.joint, (to,))] if head.joint else []
    else:
        link = []
    english += particle
    # "looks at" is regarde; the "to" of "talks to" is linked separately, to à or lui.
    absorbed = [] if verb.frame is Frame.TO_PERSON else particle
    of = (lexical, *absorbed)

    pronouns = [*([Fr(REFLEXIVES[person], (lexical,))] if verb.reflexive else []), *clitics]
    tail = [Fr(word, (lexical,)) for word in verb.tail.split()]
    chained = bool(manner.modal)
    conjugation = MODALS[manner.modal] if isinstance(manner.modal, str) and manner.modal else head.fr
    participle: list[Fr] = []
    if tense is Tense.PAST:
        etre = head.etre
        finite = Fr((ETRE if etre else AVOIR).present[person], finite_of)
        # With être the participle agrees with the subject, with avoir with a direct object before it.
        gender, number = (subject.feminine, subject.plural) if etre else (False, False) if chained else manner.agrees
        participle = [Fr(agree(head.fr.participle, gender, number), (main,) if chained else of)]
    else:
        forms = conjugation.future if tense is Tense.FUTURE else conjugation.present
        finite = Fr(forms[person], finite_of if chained else (*finite_of, *absorbed))
    if chained:
        before, infinitive = ne, [*link, *pronouns, Fr(verb.fr.infinitive, of), *tail]
        after = [*second, *adverb, *participle, *infinitive]
    else:
        before, after = [*ne, *pronouns], [*second, *adverb, *participle, *tail]
    return _ordered(subject, auxiliary, english, before, finite, after, manner)


def copula(subject: Phrase, manner: Manner, *, feeling: bool = False) -> Fragment:
    """Subject and "be": être, or avoir for a feeling ("is hungry": a faim)."""
    person, tense = subject.person, manner.tense
    negation, ne, second = _negated(manner.negation)
    often = [En(manner.frequency)] if manner.frequency else []
    adverb = [Fr(FREQUENCY[word.text], (word,)) for word in often]
    be = En(_be(person, tense is Tense.PAST))
    auxiliary, rest, of = [be], [*negation, *often], (be,)
    conjugation = AVOIR if feeling else ETRE
    if tense is Tense.FUTURE:
        auxiliary, be = [En("will")], En("be")
        rest, of = [*rest, be], (auxiliary[0], be)
        text = conjugation.future[person]
    elif tense is Tense.PAST:
        assert not feeling, "the imperfect of avoir is not in the tables"
        text = IMPERFECT_ETRE[person]
    else:
        text = conjugation.present[person]
    return _ordered(subject, auxiliary, rest, ne, Fr(text, of), [*second, *adverb], manner)
