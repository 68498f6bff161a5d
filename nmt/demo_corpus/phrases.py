"""Noun phrases: determiners, adjectives and nouns with agreement, names, pronouns, possessors, in the order of each
language."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import (
    ADJECTIVES,
    CITIES,
    MASS,
    MEN,
    NOUNS,
    NUMBERS,
    POSSESSIVES,
    WOMEN,
    Adjective,
    Mass,
    Noun,
)
from nmt.demo_corpus.surface import En, Fr, Fragment

T = TypeVar("T")


class Choices:
    """Choices that are the same on every machine: all use random.random(), whose sequence Python guarantees."""

    def __init__(self, seed: int):
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._random() * len(choices))]

    def weigh(self, choices: Sequence[tuple[T, float]]) -> T:
        """Returns one of the choices (choice, weight), with a probability proportional to its weight."""
        left = self._random() * sum(weight for _, weight in choices)
        for choice, weight in choices:
            left -= weight
            if left < 0:
                return choice
        return choices[-1][0]


class Determiner(Enum):
    """The determiner of a noun. NO_MORE is the indefinite object of a negated verb: pas de."""

    THE = "the"
    INDEFINITE = "a, some"
    NO_MORE = "a, any"
    POSSESSIVE = "my"
    THIS = "this, these"
    NUMBER = "three"
    THE_NUMBER = "the three"
    MANY = "many"
    SEVERAL = "several"
    EVERY = "every"
    ALL = "all the"


SINGULAR_ONLY = (Determiner.EVERY,)
PLURAL_ONLY = (Determiner.NUMBER, Determiner.THE_NUMBER, Determiner.MANY, Determiner.SEVERAL, Determiner.ALL)
SUBJECTS = (
    (Determiner.THE, 50.0), (Determiner.INDEFINITE, 10.0), (Determiner.POSSESSIVE, 14.0), (Determiner.THIS, 8.0),
    (Determiner.NUMBER, 3.0), (Determiner.THE_NUMBER, 4.0), (Determiner.MANY, 2.0), (Determiner.SEVERAL, 2.0),
    (Determiner.EVERY, 3.0), (Determiner.ALL, 4.0),
)  # fmt: skip
OBJECTS = (
    (Determiner.THE, 42.0), (Determiner.INDEFINITE, 26.0), (Determiner.POSSESSIVE, 12.0), (Determiner.THIS, 8.0),
    (Determiner.NUMBER, 6.0), (Determiner.MANY, 3.0), (Determiner.SEVERAL, 3.0), (Determiner.ALL, 2.0),
)  # fmt: skip
NEGATED = ((Determiner.THE, 55.0), (Determiner.NO_MORE, 25.0), (Determiner.POSSESSIVE, 12.0), (Determiner.THIS, 8.0))
PEOPLE = ((Determiner.THE, 60.0), (Determiner.POSSESSIVE, 20.0), (Determiner.INDEFINITE, 12.0), (Determiner.THIS, 8.0))
# After a preposition, without "de des" and "à beaucoup de".
PLACED = ((Determiner.THE, 68.0), (Determiner.POSSESSIVE, 12.0), (Determiner.THIS, 10.0))


@dataclass(slots=True)
class Phrase:
    """A noun phrase with the properties that the verb needs.

    `kind`: the lexicon's letter of its head; `clitic`: a subject pronoun, which is inverted in a question; `closed`:
    takes no relative clause; `universal`: every, all.
    """

    pair: Fragment
    person: Person = Person.HE
    feminine: bool = False
    kind: str = "p"
    clitic: bool = False
    closed: bool = False
    universal: bool = False

    @property
    def plural(self) -> bool:
        return self.person is Person.THEY


def _form(adjective: Adjective, feminine: bool, plural: bool, source: tuple[En, ...]) -> list[Fr]:
    words = adjective.fr[feminine + 2 * plural].split()
    liaison = adjective.liaison if not feminine and not plural else ""
    return [Fr(word, source, liaison) for word in words]


def noun_words(noun: Noun, plural: bool) -> Fragment:
    """A noun, or a compound with the links of its words."""
    en = [En(word) for word in noun.en[plural].split()]
    fr = noun.fr[plural].split()
    return Fragment(en, [Fr(word, tuple(en[k] for k in of)) for word, of in zip(fr, noun.sources, strict=True)])


def described(noun: Noun, plural: bool, adjectives: Sequence[Adjective] = (), very: bool = False) -> Fragment:
    """Adjectives and noun: in English all adjectives precede the noun, in French most follow it. `very` modifies the
    last adjective."""
    head = noun_words(noun, plural)
    en, before, after = [], [], []
    for adjective in adjectives:
        words = [En(adjective.en)]
        fr = _form(adjective, noun.feminine, plural, tuple(words))
        if very and adjective is adjectives[-1]:
            words = [En("very"), *words]
            fr = [Fr("très", (words[0],)), *fr]
        en += words
        (before if adjective.before else after).extend(fr)
    return Fragment(en + head.en, before + head.fr + after)


def determined(determiner: Determiner, noun: Noun, plural: bool, inner: Fragment, word: str = "") -> Fragment:
    """A determiner before a noun with adjectives. `word`: the possessive or number."""
    woman = noun.feminine
    # "de petits chats": des becomes de before an adjective.
    adjective_first = inner.fr[0].text != noun.fr[plural].split()[0]
    match determiner:
        case Determiner.THE:
            the = En("the")
            return Fragment([the], [_article(woman, plural, the)]) + inner
        case Determiner.INDEFINITE:
            a = En("some" if plural else "a")
            text = ("de" if adjective_first else "des") if plural else ("une" if woman else "un")
            return Fragment([a], [Fr(text, (a,))]) + inner
        case Determiner.NO_MORE:
            a = En("any" if plural else "a")
            return Fragment([a], [Fr("de", (a,))]) + inner
        case Determiner.POSSESSIVE:
            owner = En(word)
            man, lady, several = POSSESSIVES[word]
            return (
                Fragment([owner], [Fr(several if plural else lady if woman else man, (owner,), "" if plural else man)])
                + inner
            )
        case Determiner.THIS:
            this = En("these" if plural else "this")
            text = "ces" if plural else "cette" if woman else "ce"
            return Fragment([this], [Fr(text, (this,), "cet" if text == "ce" else "")]) + inner
        case Determiner.NUMBER:
            number = En(word)
            return Fragment([number], [Fr(NUMBERS[word], (number,))]) + inner
        case Determiner.THE_NUMBER:
            the, number = En("the"), En(word)
            return Fragment([the, number], [_article(woman, True, the), Fr(NUMBERS[word], (number,))]) + inner
        case Determiner.MANY:
            many = En("many")
            return Fragment([many], [Fr("beaucoup", (many,)), Fr("de", (many,))]) + inner
        case Determiner.SEVERAL:
            several = En("several")
            return Fragment([several], [Fr("plusieurs", (several,))]) + inner
        case Determiner.EVERY:
            every = En("every")
            return Fragment([every], [Fr("chaque", (every,))]) + inner
        case Determiner.ALL:
            every, the = En("all"), En("the")
            return (
                Fragment([every, the], [Fr("toutes" if woman else "tous", (every,)), _article(woman, True, the)])
                + inner
            )


def _article(woman: bool, plural: bool, *of: En) -> Fr:
    return Fr("les" if plural else "la" if woman else "le", of, article=True)


def name_phrase(name: str) -> Phrase:
    """A person's first name."""
    source = En(name)
    return Phrase(Fragment([source], [Fr(name, (source,))]), feminine=name in WOMEN, closed=True)


def pronoun(english: str) -> Phrase:
    """A subject pronoun; they is always ils, you is always vous."""
    french, person = {
        "I": ("je", Person.I), "we": ("nous", Person.WE), "you": ("vous", Person.YOU), "he": ("il", Person.HE),
        "she": ("elle", Person.HE), "they": ("ils", Person.THEY),
    }[english]  # fmt: skip
    source = En(english)
    return Phrase(Fragment([source], [Fr(french, (source,))]), person, english == "she", clitic=True, closed=True)


def belonging(owner: Phrase, noun: Noun, plural: bool, inner: Fragment) -> Fragment:
    """The girl's black cat: le chat noir de la fille. The French article of the possessed noun has no source."""
    last = owner.pair.en[-1]
    last.text += "'" if owner.plural and last.text.endswith("s") else "'s"
    return Fragment(
        owner.pair.en + inner.en, [_article(noun.feminine, plural), *inner.fr, Fr("de", (last,)), *owner.pair.fr]
    )


def noun_phrase(
    choices: Choices,
    kinds: str,
    rich: float,
    determiners: Sequence[tuple[Determiner, float]] = SUBJECTS,
    *,
    singular: float = 0.7,
    owners: bool = True,
) -> Phrase:
    """A noun of one of these kinds with its determiner and adjectives; `rich` (0 to 1): the amount of modifiers."""
    noun = choices.pick(tuple(noun for noun in NOUNS if noun.kind in kinds))
    determiner = choices.weigh(determiners)
    plural = determiner in PLURAL_ONLY or (determiner not in SINGULAR_ONLY and not choices.chance(singular))
    adjectives: list[Adjective] = []
    very = False
    fitting = [adjective for adjective in ADJECTIVES if noun.kind in adjective.kinds]
    if choices.chance(0.22 + 0.3 * rich):
        adjectives = [choices.pick(fitting)]
        others = [adjective for adjective in fitting if not adjective.before]
        if adjectives[0].before and others and choices.chance(0.3):
            adjectives.append(choices.pick(others))
        elif adjectives[0].comparative and choices.chance(0.08):
            very = True
    inner = described(noun, plural, adjectives, very)
    person = Person.THEY if plural else Person.HE
    if owners and noun.kind in "atcri" and determiner is Determiner.THE and choices.chance(0.13):
        pair = belonging(_owner(choices), noun, plural, inner)
        return Phrase(pair, person, noun.feminine, noun.kind, closed=True)
    word = ""
    if determiner is Determiner.POSSESSIVE:
        word = choices.pick(tuple(POSSESSIVES))
    elif determiner in (Determiner.NUMBER, Determiner.THE_NUMBER):
        word = choices.pick(tuple(NUMBERS))
    pair = determined(determiner, noun, plural, inner, word)
    parted = owners and noun.kind in "ls" and determiner is Determiner.THE and choices.chance(0.2)
    if parted:  # closed: in "the roof of the house that he sees" the agreement would be ambiguous
        of = En("of")
        whole = noun_phrase(choices, "io", 0.0, PLACED, singular=0.9, owners=False)
        pair = pair + Fragment([of], [Fr("de", (of,))]) + whole.pair
    return Phrase(
        pair,
        person,
        noun.feminine,
        noun.kind,
        closed=parted,
        universal=determiner in (Determiner.EVERY, Determiner.ALL),
    )


def _owner(choices: Choices) -> Phrase:
    if choices.chance(0.35):
        return name_phrase(choices.pick(MEN + WOMEN))
    return noun_phrase(
        choices, "p", 0.0, ((Determiner.THE, 7.0), (Determiner.POSSESSIVE, 3.0)), singular=0.85, owners=False
    )


def listed(phrases: Sequence[Phrase]) -> Phrase:
    """Two or three phrases with "and"; feminine only if all are feminine."""
    *front, last = phrases
    conjunction = En("and")
    pair = Fragment()
    for index, phrase in enumerate(front):
        pair = pair + (phrase.pair.comma() if index < len(front) - 1 else phrase.pair)
    pair = pair + Fragment([conjunction], [Fr("et", (conjunction,))]) + last.pair
    return Phrase(pair, Person.THEY, all(phrase.feminine for phrase in phrases), last.kind, closed=True)


def mass_noun(mass: Mass, partitive: bool, negated: bool) -> Fragment:
    """Music: la musique; with `partitive`, water: de l'eau; negated, d'eau. The article and de have no English
    source."""
    inner = noun_words(mass.noun, False)
    article = _article(mass.noun.feminine, mass.plural)
    if not partitive:
        return Fragment(inner.en, [article, *inner.fr])
    return Fragment(inner.en, [Fr("de"), *([] if negated else [article]), *inner.fr])


def any_mass(choices: Choices, uses: str) -> Mass:
    """A mass noun of one of these uses (see the lexicon)."""
    return choices.pick(tuple(mass for mass in MASS if any(use in uses for use in mass.noun.kind)))


def city(choices: Choices) -> Fragment:
    """A city, without an article."""
    name = choices.pick(tuple(CITIES))
    source = En(name)
    return Fragment([source], [Fr(CITIES[name], (source,))])
