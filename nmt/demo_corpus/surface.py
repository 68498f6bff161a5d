"""English words, French words with their English sources, and the raw lines and links that they form.

Grammar rules give French words in their full forms (de, le, homme); this module combines neighboring words:

    contraction   de + le -> du, de + les -> des, à + le -> au, à + les -> aux (articles only)
    elision       le + homme -> l'homme: one whitespace word, with the links of both; but le hibou, le onze
    liaison       ce + arbre -> cet arbre, beau + oiseau -> bel oiseau, ma + école -> mon école
    inversion     mange + -il -> mange-t-il: one whitespace word

A whitespace word has the links of all its parts. Final punctuation is part of the last word, except the French question
mark, which follows a space: it is a separate word, linked to the English word with the mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

VOWELS = "aeiouàâéèêëîïôûùœ"
ELISIONS = {"le": "l'", "la": "l'", "de": "d'", "que": "qu'", "ne": "n'", "je": "j'", "me": "m'", "se": "s'"}
CONTRACTIONS = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
ASPIRATE = ("hibou", "hiboux", "huit", "onze")
AN_EXCEPTIONS = ("university", "universities", "useful")


class Example(NamedTuple):
    """A sentence pair and its sure links (i, j): English word i, French word j, from 0, words by str.split()."""

    src: str
    tgt: str
    links: tuple[tuple[int, int], ...]


@dataclass(eq=False, slots=True)
class En:
    """An English word; `at` is its index in the rendered line, -1 before."""

    text: str
    at: int = -1


@dataclass(eq=False, slots=True)
class Fr:
    """A French word before it is combined with its neighbors.

    `of`: its English source words (none for an expletive); `liaison`: its form before a vowel; `article`: contracts
    with de and à, unlike a pronoun ("de le voir"); `enclitic`: is joined by a hyphen to the previous word.
    """

    text: str
    of: tuple[En, ...] = ()
    liaison: str = ""
    article: bool = False
    enclitic: bool = False


@dataclass(slots=True)
class Fragment:
    """English words and their French translation."""

    en: list[En] = field(default_factory=list)
    fr: list[Fr] = field(default_factory=list)

    def __add__(self, other: "Fragment") -> "Fragment":
        return Fragment(self.en + other.en, self.fr + other.fr)

    def comma(self) -> "Fragment":
        """The fragment with a comma after the last word of each side."""
        self.en[-1].text += ","
        self.fr[-1].text += ","
        return self


def gloss(english: str, french: str) -> Fragment:
    """English and French words, each linked to each: gloss("near", "près de")."""
    en = [En(word) for word in english.split()]
    return Fragment(en, [Fr(word, tuple(en)) for word in french.split()])


def begins_with_vowel(french: str) -> bool:
    """Whether a French word requires elision before it: it begins with a vowel or a mute h."""
    word = french.rstrip(",")
    return word not in ASPIRATE and (word[0].lower() in VOWELS or word[0].lower() == "h")


def render(pair: Fragment, mark: str) -> Example:
    """The raw lines of a sentence that ends in `mark` ("." or "?"), and its links."""
    src = []
    for at, word in enumerate(pair.en):
        word.at = at
        follower = pair.en[at + 1].text if at + 1 < len(pair.en) else ""
        vowel = follower[:1].lower() in tuple("aeiou") and follower.rstrip(",") not in AN_EXCEPTIONS
        src.append("an" if word.text == "a" and vowel else word.text)
    words = _realize(pair.fr)
    if mark == "?":
        words.append(("?", [pair.en[-1]]))
    else:
        words[-1] = (words[-1][0] + mark, words[-1][1])
    links = sorted({(source.at, j) for j, (_, of) in enumerate(words) for source in of})
    assert all(i >= 0 for i, _ in links), "a French word is linked to an English word that is not in the sentence"
    tgt = " ".join(text for text, _ in words)
    line = " ".join(src) + mark
    return Example(line[0].upper() + line[1:], tgt[0].upper() + tgt[1:], tuple(links))


def _realize(french: Sequence[Fr]) -> list[tuple[str, list[En]]]:
    words: list[tuple[str, list[En]]] = []
    prefix, sources = "", []
    skip = False
    for at, word in enumerate(french):
        if skip:
            skip = False
            continue
        follower = french[at + 1] if at + 1 < len(french) else None
        after = french[at + 2] if at + 2 < len(french) else None
        vowel = follower is not None and not follower.enclitic and begins_with_vowel(follower.text)
        text, of = word.text, [*sources, *word.of]
        if word.enclitic:
            stem, stem_of = words.pop()
            text, of = f"{stem}{'-t' if stem[-1] in 'ae' else ''}-{text}", stem_of + of
        elif follower is not None and follower.article and (text, follower.text) in CONTRACTIONS:
            elided = follower.text == "le" and after is not None and begins_with_vowel(after.text)
            if not elided:
                text, of, skip = CONTRACTIONS[text, follower.text], of + list(follower.of), True
        elif vowel and text in ELISIONS:
            prefix, sources = prefix + ELISIONS[text], of
            continue
        elif text == "si" and follower is not None and follower.text in ("il", "ils"):
            prefix, sources = prefix + "s'", of
            continue
        elif vowel and word.liaison:
            text = word.liaison
        words.append((prefix + text, of))
        prefix, sources = "", []
    return words
