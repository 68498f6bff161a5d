"""The demo corpus: the same bytes everywhere, correct French by hand, links that mean what they say."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from nmt.demo_corpus import DEMO_SRC, DEMO_TGT, Example, Splits, generate, splits, write_demo
from nmt.demo_corpus.clauses import Clause, clause, object_phrase
from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import ADJECTIVES, MASS, NOUNS
from nmt.demo_corpus.phrases import (
    Choices,
    Determiner,
    Phrase,
    belonging,
    described,
    determined,
    mass_noun,
    name_phrase,
    noun_words,
    pronoun,
)
from nmt.demo_corpus.sentences import sentence, time_phrase
from nmt.demo_corpus.surface import En, Fr, Fragment, gloss, render
from nmt.demo_corpus.verbals import Manner, Negation, Tense, copula, verbal
from nmt.demo_corpus.verbs import VERBS, Frame, Verb

COUNTS = {"train": 4000, "valid": 300, "test": 300}
SMALL = {"train": 30, "valid": 5, "test": 5, "seed": 3}
FILES = {f"{split}.{suffix}" for split in ("train", "valid", "test") for suffix in ("en", "fr", "links")}


@pytest.fixture(scope="module")
def corpus() -> Splits:
    return splits(**COUNTS, seed=1)


@pytest.fixture(scope="module")
def everything(corpus) -> list[Example]:
    return [*corpus.train, *corpus.valid, *corpus.test]


def bare(word: str) -> str:
    return word.strip(".,?").lower()


# The corpus as a whole


def test_a_seed_gives_the_same_bytes_everywhere():
    text = "".join(f"{e.src}\t{e.tgt}\t{e.links}\n" for e in generate(1500, seed=1))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "0e85b9822f33c2c7a85c95abf3c294043b47d3a5d01dd35af576d84df4b213bc"
    )


def test_another_seed_gives_another_corpus():
    assert generate(20, seed=1) != generate(20, seed=2)


def test_a_smaller_training_set_has_the_same_test_set():
    assert splits(train=5, valid=10, test=10, seed=1)[1:] == splits(train=20, valid=10, test=10, seed=1)[1:]


def test_the_splits_have_the_sizes_asked_for(corpus):
    assert [len(part) for part in corpus] == [4000, 300, 300]


def test_no_sentence_of_either_language_occurs_twice(everything):
    assert len({e.src for e in everything}) == len({e.tgt for e in everything}) == len(everything)


def test_sentences_have_3_to_50_words(everything):
    lengths = [len(line.split()) for e in everything for line in (e.src, e.tgt)]
    assert min(lengths) == 3
    assert 45 < max(lengths) <= 50


def test_long_sentences_have_a_fair_share(everything):
    lengths = [len(e.src.split()) for e in everything]
    assert sum(length > 20 for length in lengths) >= 0.15 * len(lengths)
    assert sum(length >= 30 for length in lengths) >= 0.04 * len(lengths)


def test_each_side_has_several_hundred_words(everything):
    english = {bare(word) for e in everything for word in e.src.split()}
    french = {part for e in everything for word in e.tgt.split() for part in re.split(r"['-]", bare(word))}
    assert len(english) > 500
    assert len(french) > 700


@pytest.mark.slow
def test_an_english_sentence_has_one_french_sentence():
    choices, french = Choices(5), {}
    for _ in range(15000):  # before repetitions are dropped
        example = sentence(choices)
        assert french.setdefault(example.src, (example.tgt, example.links)) == (example.tgt, example.links)


def test_sentences_are_cased_and_punctuated(everything):
    for e in everything:
        assert e.src[0].isupper()
        assert e.tgt[0].isupper()
        assert (e.src[-1], e.tgt[-2:]) == ("?", " ?") or (e.src[-1] == e.tgt[-1] == "." and e.tgt[-2] != " ")
        assert e.src == " ".join(e.src.split())
        assert e.tgt == " ".join(e.tgt.split())


def test_french_words_contract_and_elide(everything):
    # "de les manger" is right: that is the pronoun, before an infinitive.
    contracts = re.compile(r"\b(de|à) les? (?!lui |leur |\w+(er|ir|re)\b)", re.I)
    elides = re.compile(r"\b(le|la|de|ne|que|je|me|se|ce) (?!onze|huit|hibou)[aeiouâéêœh]|\bsi ils?\b", re.I)
    assert not [e.tgt for e in everything if contracts.search(e.tgt) or elides.search(e.tgt)]


# The links


def test_links_are_sorted_distinct_and_in_range(everything):
    for e in everything:
        assert list(e.links) == sorted(set(e.links))
        assert all(0 <= i < len(e.src.split()) and 0 <= j < len(e.tgt.split()) for i, j in e.links)


def test_only_french_articles_and_de_stand_without_source(everything):
    alone = set()
    for e in everything:
        linked = {j for _, j in e.links}
        alone |= {bare(word) for j, word in enumerate(e.tgt.split()) if j not in linked}
    assert alone == {"le", "la", "les", "de", "du"}


def test_only_english_function_words_stand_without_french(everything):
    alone = set()
    for e in everything:
        linked = {i for i, _ in e.links}
        alone |= {bare(word) for i, word in enumerate(e.src.split()) if i not in linked}
    assert alone == {"do", "does", "to", "in", "at"}


# The phenomena, by hand


def noun(english: str):
    return next(noun for noun in NOUNS if noun.en[0] == english)


def adjective(english: str):
    return next(adjective for adjective in ADJECTIVES if adjective.en == english)


def verb(english: str, frame: Frame = Frame.OBJECT) -> Verb:
    return next(v for v in VERBS if f"{v.base} {v.particle}".strip() == english and v.frame is frame)


def the(english: str, *adjectives: str, plural: bool = False, determiner: Determiner = Determiner.THE, word: str = ""):
    thing = noun(english)
    inner = described(thing, plural, [adjective(name) for name in adjectives])
    pair = determined(determiner, thing, plural, inner, word)
    return Phrase(pair, Person.THEY if plural else Person.HE, thing.feminine, thing.kind)


def clitic(english: str, french: str) -> tuple[Fr, Fragment]:
    source = En(english)
    return Fr(french, (source,)), Fragment([source])


def shown(pair: Fragment, mark: str = ".") -> tuple[str, str, str]:
    example = render(pair, mark)
    return example.src, example.tgt, " ".join(f"{i}-{j}" for i, j in example.links)


def test_adjectives_follow_or_precede_the_noun_and_agree():
    subject = the("girl", "beautiful", "happy", plural=True)
    pair = verbal(subject, verb("see"), Manner()) + the("bird", "old", "black", determiner=Determiner.INDEFINITE).pair
    assert shown(pair) == (
        "The beautiful happy girls see an old black bird.",
        "Les belles filles heureuses voient un vieil oiseau noir.",
        "0-0 1-1 2-3 3-2 4-4 5-5 6-6 7-8 8-7",
    )


def test_des_becomes_de_before_an_adjective():
    phrase = the("cake", "small", plural=True, determiner=Determiner.INDEFINITE)
    assert shown(verbal(pronoun("we"), verb("eat"), Manner()) + phrase.pair) == (
        "We eat some small cakes.",
        "Nous mangeons de petits gâteaux.",
        "0-0 1-1 2-2 3-3 4-4",
    )


def test_negation_has_two_parts_and_do_has_no_french():
    manner = Manner(negation=Negation.NOT)
    pair = verbal(the("man"), verb("eat"), manner) + the("apple", plural=True, determiner=Determiner.NO_MORE).pair
    assert shown(pair) == (
        "The man does not eat any apples.",
        "L'homme ne mange pas de pommes.",
        "0-0 1-0 3-1 3-3 4-2 5-4 6-5",
    )


def test_object_pronouns_stand_before_the_verb_and_participles_agree_with_them():
    french, english = clitic("her", "la")
    manner = Manner(Tense.PAST, Negation.NOT, agrees=(True, False))
    assert shown(verbal(the("cat"), verb("see"), manner, [french]) + english) == (
        "The cat did not see her.",
        "Le chat ne l'a pas vue.",
        "0-0 1-1 2-3 3-2 3-4 4-5 5-3",
    )


def test_two_object_pronouns_have_their_french_order():
    it, to, her = En("it"), En("to"), En("her")
    pair = verbal(pronoun("they"), verb("give", Frame.GIVE), Manner(), [Fr("le", (it,)), Fr("lui", (to, her))])
    assert shown(pair + Fragment([it, to, her])) == (
        "They give it to her.",
        "Ils le lui donnent.",
        "0-0 1-3 2-1 3-2 4-2",
    )


def test_de_and_le_contract_and_keep_the_links_of_both():
    to = En("to")
    gift = belonging(the("boy"), noun("computer"), False, described(noun("computer"), False))
    pair = verbal(name_phrase("Anne"), verb("show", Frame.GIVE), Manner()) + gift
    pair = pair + Fragment([to], [Fr("à", (to,))]) + the("king", plural=True).pair
    assert shown(pair) == (
        "Anne shows the boy's computer to the kings.",
        "Anne montre l'ordinateur du garçon aux rois.",
        "0-0 1-1 2-3 3-3 3-4 4-2 5-5 6-5 7-6",
    )


def test_a_pronoun_does_not_contract():
    french, english = clitic("it", "le")
    pair = verbal(pronoun("you"), verb("buy"), Manner(modal=verb("decide", Frame.VERB)), [french])
    assert shown(pair + english) == ("You decide to buy it.", "Vous décidez de l'acheter.", "0-0 1-1 2-2 3-3 4-3")
    french, english = clitic("it", "le")
    pair = verbal(pronoun("you"), verb("find"), Manner(modal=verb("decide", Frame.VERB)), [french])
    assert shown(pair + english) == ("You decide to find it.", "Vous décidez de le trouver.", "0-0 1-1 2-2 3-4 4-3")


def test_an_aspirate_h_is_not_elided():
    assert shown(verbal(the("owl"), verb("sleep", Frame.ALONE), Manner()))[1] == "Le hibou dort."
    assert shown(verbal(the("horse", plural=True), verb("sleep", Frame.ALONE), Manner()))[1] == "Les chevaux dorment."


def test_this_and_my_look_at_the_next_sound():
    phrase = the("bird", determiner=Determiner.THIS)
    seen = the("school", "new", determiner=Determiner.POSSESSIVE, word="my")
    church = the("church", determiner=Determiner.POSSESSIVE, word="my")
    assert shown(verbal(phrase, verb("see"), Manner()) + seen.pair)[1] == "Cet oiseau voit ma nouvelle école."
    assert shown(verbal(pronoun("he"), verb("see"), Manner()) + church.pair)[1] == "Il voit mon église."


def test_compounds_are_one_to_many_and_many_to_one():
    pair = verbal(pronoun("I"), verb("have"), Manner()) + the("potato", determiner=Determiner.INDEFINITE).pair
    assert shown(pair) == ("I have a potato.", "J'ai une pomme de terre.", "0-0 1-0 2-1 3-2 3-3 3-4")
    science = next(mass for mass in MASS if mass.noun.en[0] == "computer science")
    pair = verbal(pronoun("she"), verb("study", Frame.GENERIC), Manner(Tense.PROGRESSIVE))
    assert shown(pair + mass_noun(science, False, False)) == (
        "She is studying computer science.",
        "Elle étudie l'informatique.",
        "0-0 1-1 2-1 3-2 4-2",
    )
    juice = next(mass for mass in MASS if mass.noun.en[0] == "orange juice")
    pair = verbal(pronoun("she"), verb("drink", Frame.MASS), Manner()) + mass_noun(juice, True, False)
    assert shown(pair) == ("She drinks orange juice.", "Elle boit du jus d'orange.", "0-0 1-1 2-4 3-3")


def test_questions_invert():
    pair = verbal(the("cat"), verb("see"), Manner(question=True)) + the("bird").pair
    assert shown(pair, "?") == (
        "Does the cat see the bird?",
        "Le chat voit-il l'oiseau ?",
        "1-0 2-1 3-2 4-3 5-3 5-4",
    )
    pair = verbal(pronoun("she"), verb("eat"), Manner(Tense.PAST, question=True)) + the("cake").pair
    assert shown(pair, "?")[1:] == ("A-t-elle mangé le gâteau ?", "0-0 1-0 2-1 3-2 4-3 4-4")
    pair = gloss("what", "que") + verbal(the("nurse"), verb("look for"), Manner(question=True, que=True))
    assert shown(pair, "?") == (
        "What does the nurse look for?",
        "Que cherche l'infirmière ?",
        "0-0 2-2 3-2 4-1 5-1 5-3",
    )


def test_etre_and_reflexive_participles_agree_with_the_subject():
    subject = the("queen", plural=True)
    assert shown(verbal(subject, verb("wake up", Frame.ALONE), Manner(Tense.PAST, Negation.NOT))) == (
        "The queens did not wake up.",
        "Les reines ne se sont pas réveillées.",
        "0-0 1-1 2-4 3-2 3-5 4-3 4-6 5-6",
    )
    assert shown(verbal(the("mouse"), verb("go out", Frame.ALONE), Manner(Tense.PAST)))[1] == "La souris est sortie."


def test_times_and_feelings_are_said_the_french_way():
    pair = copula(the("dog"), Manner(negation=Negation.NO_LONGER), feeling=True) + gloss("hungry", "faim")
    assert shown(pair) == ("The dog is no longer hungry.", "Le chien n'a plus faim.", "0-0 1-1 2-2 3-2 4-3 5-4")
    when = time_phrase("two days ago", "il y a deux jours", "22201").comma()
    assert shown(when + verbal(pronoun("he"), verb("sing", Frame.ALONE), Manner(Tense.PAST))) == (
        "Two days ago, he sang.",
        "Il y a deux jours, il a chanté.",
        "0-3 1-4 2-0 2-1 2-2 3-5 4-6 4-7",
    )


def test_a_dining_room_keeps_its_inner_links():
    example = render(gloss("in", "dans") + noun_words(noun("dining room"), False), ".")
    assert example.links == ((0, 0), (1, 2), (1, 3), (2, 1))


PHENOMENA = r"""
    ^Il_y_a_; _qui_; _(que|qu'\w+)_; _où_; _plus_\w+_que_; ^S'ils?_; ^Si_; _pendant_qu; _parce_qu; ^Combien_; _dit_qu;
    -t-elles?_; _ne_(le|la|les|lui|leur)_; _d'eau; _tous_les_jours; _jamais_; ées?_; _(du|des|au|aux)_; _en_bois;
    _besoin_d
"""


@pytest.mark.parametrize("french", [row.strip().replace("_", " ") for row in PHENOMENA.split(";")])
def test_each_phenomenon_occurs(everything, french):
    assert any(re.search(french, e.tgt) for e in everything)


def test_a_clause_is_drawn_from_the_dice_alone():
    first = [clause(Choices(seed), pronoun("she"), Tense.PAST, 1.0) for seed in range(20)]
    second = [clause(Choices(seed), pronoun("she"), Tense.PAST, 1.0) for seed in range(20)]
    assert all(isinstance(drawn, Clause) for drawn in first)
    assert [render(c.pair, ".") for c in first] == [render(c.pair, ".") for c in second]
    assert object_phrase(Choices(1), "f", 0.0).kind == "f"


# The files


def test_write_demo_writes_pairs_and_pharaoh_links(tmp_path):
    write_demo(tmp_path / "demo", **SMALL)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == FILES | {"manifest.json"}
    expected = splits(**SMALL)
    for name, examples in zip(Splits._fields, expected, strict=True):
        lines = [
            (tmp_path / "demo" / f"{name}.{suffix}").read_bytes().decode("utf-8").removesuffix("\n").split("\n")
            for suffix in (DEMO_SRC, DEMO_TGT, "links")
        ]
        links = [tuple(tuple(map(int, link.split("-"))) for link in line.split()) for line in lines[2]]
        assert list(zip(lines[0], lines[1], links, strict=True)) == [tuple(e) for e in examples]


def test_write_demo_leaves_a_complete_folder_alone(tmp_path):
    write_demo(tmp_path, **SMALL)
    for name in FILES:
        os.utime(tmp_path / name, ns=(1, 1))
    write_demo(tmp_path, **SMALL)
    assert all((tmp_path / name).stat().st_mtime_ns == 1 for name in FILES)


def test_write_demo_writes_again_what_was_changed_or_asked_differently(tmp_path):
    write_demo(tmp_path, **SMALL)
    whole = {name: (tmp_path / name).read_bytes() for name in FILES}
    (tmp_path / "valid.fr").write_text("Autre chose.\n")
    write_demo(tmp_path, **SMALL)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == whole
    write_demo(tmp_path, **{**SMALL, "train": 31})
    assert (tmp_path / "train.en").read_bytes().count(b"\n") == 31


@pytest.mark.parametrize("fatal", range(10))
def test_an_interrupted_write_leaves_no_half_file_and_no_manifest(tmp_path, monkeypatch, fatal):
    done, replace = [], os.replace

    def interrupted(source, target):
        if len(done) == fatal:
            raise KeyboardInterrupt
        done.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path, **SMALL)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(done)
    assert "manifest.json" not in done
    write_demo(tmp_path, **SMALL)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"manifest.json"}


def test_a_negative_count_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"-1 valid pairs; try 0 or more"):
        write_demo(tmp_path / "demo", train=1, valid=-1, test=1, seed=1)
    assert not (tmp_path / "demo").exists()
