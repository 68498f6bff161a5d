"""Regular inflection of both languages; irregular forms are in the lexicon."""

from enum import IntEnum
from typing import NamedTuple


class Person(IntEnum):
    """The person and number of a subject, in the order of the conjugation tables. "you" is always polite: vous."""

    I = 0  # noqa: E741
    WE = 1
    YOU = 2
    HE = 3
    THEY = 4


class Conjugation(NamedTuple):
    """A French verb: `present` and `future` by Person; `participle` in the masculine singular."""

    infinitive: str
    present: tuple[str, ...]
    future: tuple[str, ...]
    participle: str


def conjugate(infinitive: str, irregular: str = "") -> Conjugation:
    """Conjugates -er (with -ger, -cer), -ir (finir), -re (vendre).

    `irregular`: "je nous vous il ils participle future-stem".
    """
    stem, ending = infinitive[:-2], infinitive[-2:]
    if irregular:
        *present, participle, future = irregular.split()
        assert len(present) == 5, infinitive
    elif ending == "er":
        soft = {"g": "ge", "c": "ç"}.get(stem[-1], stem[-1])
        present = [stem + "e", stem[:-1] + soft + "ons", stem + "ez", stem + "e", stem + "ent"]
        participle, future = stem + "é", infinitive
    elif ending == "ir":
        present = [stem + "is", stem + "issons", stem + "issez", stem + "it", stem + "issent"]
        participle, future = stem + "i", infinitive
    else:
        assert ending == "re", infinitive
        present = [stem + "s", stem + "ons", stem + "ez", stem, stem + "ent"]
        participle, future = stem + "u", infinitive[:-1]
    return Conjugation(
        infinitive, tuple(present), tuple(future + e for e in ("ai", "ons", "ez", "a", "ont")), participle
    )


def agree(word: str, feminine: bool, plural: bool) -> str:
    """A regular French adjective or participle in its gender and number."""
    if feminine and not word.endswith("e"):
        word += "e"
    return word + "s" if plural and word[-1] not in "sx" else word


def feminine(adjective: str) -> str:
    """The feminine of a regular French adjective."""
    for ending, form in (("eux", "euse"), ("er", "ère"), ("ien", "ienne")):
        if adjective.endswith(ending):
            return adjective.removesuffix(ending) + form
    return agree(adjective, True, False)


def french_plural(noun: str) -> str:
    """The plural of a regular French noun or masculine adjective."""
    if noun[-1] in "sxz":
        return noun
    if noun.endswith("eau"):
        return noun + "x"
    return noun[:-1] + "ux" if noun.endswith("al") else noun + "s"


def english_s(word: str) -> str:
    """The plural of a regular English noun, or the third person of a verb."""
    if word.endswith(("s", "x", "ch", "sh", "o")):
        return word + "es"
    return word[:-1] + "ies" if word[-1] == "y" and word[-2] not in "aeou" else word + "s"


def english_past(verb: str) -> str:
    """The past of a regular English verb."""
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb[-1] == "y" and verb[-2] not in "aeou" else verb + "ed"


def english_ing(verb: str) -> str:
    """The present participle of an English verb."""
    if verb in ("run", "swim", "begin", "forget"):
        return verb + verb[-1] + "ing"
    return verb[:-1] + "ing" if verb.endswith("e") and not verb.endswith("ee") else verb + "ing"
