"""Tokenizes English-French text like the text of the hand-aligned Hansards of NAACL 2003.

    python scripts/prepare_hansards.py TRAIN VALID GOLD OUT [--pairs 50000] [--longest 25]

TRAIN and VALID are prefixes of raw text, such as Europarl: PREFIX.en and PREFIX.fr, plain or compressed by gzip. GOLD
is the folder of dev and test. The text is lower-cased; punctuation, hyphens and 's are separate tokens; French
contractions and elisions are written in full, as in the annotated text (du: de le; aux: à les; qu'il: que il;
prendra-t-il: prendra il). The gold text is only lower-cased, so its links remain valid. Writes
{train,valid,dev,test}.{en,fr} and the unchanged gold links {dev,test}.links to OUT; train has the first --pairs pairs
without a side of more than --longest words.
"""

import argparse
import gzip
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

ENGLISH, FRENCH = "en", "fr"
CONTRACTED = {"du": "de le", "des": "de les", "au": "à le", "aux": "à les"}
ELIDED = re.compile(r"\b(l|d|n|s|c|j|m|t|qu|lorsqu|puisqu|jusqu|quoiqu|quelqu)' ?(?=\w)")
# Numbers keep their points and commas, titles their point; words are letters; other characters are separate tokens.
TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\b(?:mr|mrs|ms|dr|hon|st|m|mm)\.|[^\W\d_]+|'s\b|--|\.\.\.|\S")
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"


def tokens(line: str, language: str) -> list[str]:
    """Raw text -> tokens as in the annotated Hansards."""
    line = line.lower().replace(CURLY, "'")
    if language == FRENCH:
        line = line.replace("aujourd'hui", "aujourdhui")
        line = re.sub(r"(?<=\w)-t-(?=(?:il|elle|on)s?\b)", " ", line)
        line = ELIDED.sub(lambda match: f"{match[1]}e ", line)
    words: list[str] = TOKEN.findall(line)
    if language == FRENCH:
        words = " ".join(CONTRACTED.get(word, word) for word in words).replace("aujourdhui", "aujourd' hui").split()
    return words


def read(prefix: str, language: str) -> Iterator[str]:
    plain = Path(f"{prefix}.{language}")
    with plain.open(encoding="utf-8") if plain.exists() else gzip.open(f"{plain}.gz", "rt", encoding="utf-8") as lines:
        yield from lines


def pairs(prefix: str, longest: int) -> Iterator[tuple[str, str]]:
    for lines in zip(read(prefix, ENGLISH), read(prefix, FRENCH), strict=True):
        sides = [tokens(line, language) for line, language in zip(lines, (ENGLISH, FRENCH), strict=True)]
        if all(0 < len(side) <= longest for side in sides):
            yield " ".join(sides[0]), " ".join(sides[1])


def write(out: Path, name: str, lines: Iterable[tuple[str, str]]) -> None:
    written = list(lines)
    for column, language in enumerate((ENGLISH, FRENCH)):
        (out / f"{name}.{language}").write_text("".join(f"{line[column]}\n" for line in written), encoding="utf-8")
    print(f"{name}: {len(written)} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("gold", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--longest", type=int, default=25)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        write(options.out, "train", islice(pairs(options.train, options.longest), options.pairs))
        write(options.out, "valid", pairs(options.valid, options.longest))
        for name in ("dev", "test"):
            # Already tokenized, but not lower-cased.
            sides = zip(*(read(str(options.gold / name), side) for side in (ENGLISH, FRENCH)), strict=True)
            write(options.out, name, ((english.lower().strip(), french.lower().strip()) for english, french in sides))
            shutil.copy(options.gold / f"{name}.en-fr.gold", options.out / f"{name}.links")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
