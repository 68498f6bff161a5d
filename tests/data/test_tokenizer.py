"""The tokenizer's laws: exact round trips, exact words, our ids, repeatable training, and its refusals."""

import functools
import hashlib
import io
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.corpus import Corpus, Pair
from nmt.data.symbols import BOS, EOS, NAMES, PAD, UNK, UNK_SURFACE
from nmt.data.tokenizer import ModelType, Normalization, Subwords, Tokenizer, TokenizerOptions, normalization
from nmt.data.tokenizer.normalization import LINE_ENDS
from tests.support.tokenizers import train_tokenizer

# What NFKC would rewrite, and spaces that would become plain ones.
ODD_TEXTS = [
    "你好，世界！（全角）：“引号”；ＡＢＣ１２３",  # noqa: RUF001
    "Qui\u00a0? «\u202foui\u00a0» … ½ ¼ № ™ ﬁn oﬃce ²³ Å Ω ℃",
    "e\u0301 \u1100\u1161\u11a8 ｶﾞ カ\u3099 ㍍ ㈱ Ⅷ ①",
    "zero\u200bwidth so\u00adft jo\u200din \ufeffmark \u2581\u2585\u2588 \ufffd ⁇ <unk>",
    "全角\u3000空白\u3000\u3000二つ\ttab  two  spaces ",
    " \u00a0before 1\u00a0000\u2009000 and after\u00a0",
]

NOUNS = "house garden river mountain table window children morning letter question bridge winter".split()  # noqa: SIM905
VERBS = "sees paints follows opens remembers crosses leaves builds finds answers".split()  # noqa: SIM905


class Sentences(Corpus):
    """A small made-up corpus."""

    name = "sentences"

    def __init__(self, pairs: int = 400):
        rng = np.random.default_rng(0)
        words = [[rng.choice(NOUNS), rng.choice(VERBS), rng.choice(NOUNS)] for _ in range(pairs)]
        self.pairs = [Pair(f"the {a} {b} the {c} .", f"le {a[::-1]} {b[::-1]} le {c[::-1]} .") for a, b, c in words]
        self.reads = 0

    def __iter__(self):
        self.reads += 1
        return iter(self.pairs)

    def digest(self):
        return hashlib.sha256(repr(self.pairs).encode()).hexdigest()


class Given(Corpus):
    """Texts that stand on both sides."""

    name = "given"

    def __init__(self, *texts: str):
        self.texts = texts

    def __iter__(self):
        return (Pair(text, text) for text in self.texts)

    def digest(self):
        return hashlib.sha256(repr(self.texts).encode()).hexdigest()


ODD_LINES = Given(*ODD_TEXTS, *(f"{a} {b} {c}" for a in NOUNS for b in VERBS for c in ODD_TEXTS[1].split("\u00a0")))


def train(corpus=None, **changes) -> Tokenizer:
    options = {
        "model_type": ModelType.unigram,
        "joint": True,
        "src_vocab_size": 330,
        "input_sentence_size": 1000,
        "tgt_normalization": Normalization.nmt_nfkc,
        **changes,
    }
    if options["joint"]:  # one size
        options |= {"vocab_size": options.pop("src_vocab_size"), "tgt_vocab_size": None}
    return train_tokenizer(corpus or Sentences(), **options)


SIZES = {ModelType.unigram: 330, ModelType.bpe: 400, ModelType.word: 300, ModelType.char: 400}


@functools.cache
def subwords(kind: ModelType, byte_fallback: bool = True) -> Subwords:
    return train(
        model_type=kind, byte_fallback=byte_fallback, src_vocab_size=SIZES[kind] - 256 * (not byte_fallback)
    ).src


@functools.cache
def keeping(kind: ModelType) -> Subwords:
    """A model that keeps all characters."""
    sizes = {ModelType.unigram: 420, ModelType.bpe: 480, ModelType.word: 300, ModelType.char: 999}
    return train(ODD_LINES, model_type=kind, src_vocab_size=sizes[kind], tgt_normalization=Normalization.identity).tgt


@functools.cache
def foreign(**changes) -> Subwords:
    """A model trained elsewhere: other special ids, no padding, spaces at the end of words or left alone, and so on."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(pair.src for pair in Sentences()), model_writer=model, minloglevel=3, num_threads=1,
        **{"vocab_size": 300, "byte_fallback": True, **changes},
    )  # fmt: skip
    return Subwords(model.getvalue())


SPACES = "\u2581\u2028\x85\x00\x1c\x0b\x1f\t\r\n\u3000\u00a0\u200b "
ODD = st.sampled_from([*SPACES, *"\u00a8\ufb01\uff21\u3300\u200d\ufffd\u0301😀"])
TYPED = st.sampled_from(["<s>", "</s>", "<unk>", "<0x41>", "<pad>", "⁇", "house", "the "])
TEXT = st.lists(ODD | TYPED | st.characters(codec="utf-8") | st.sampled_from(NOUNS + VERBS), max_size=12).map("".join)
MODELS = [functools.partial(which, kind) for which in (subwords, keeping) for kind in ModelType] + [
    foreign,
    functools.partial(foreign, treat_whitespace_as_suffix=True),
    functools.partial(
        foreign, remove_extra_whitespaces=False, normalization_rule_name="identity", add_dummy_prefix=False
    ),
]
every_model = pytest.mark.parametrize(
    "model",
    MODELS,
    ids=[*(f"{which}{kind.value}" for which in ("", "keeping-") for kind in ModelType), "own", "suffix", "identity"],
)


@every_model
@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_any_text_comes_back_normalized(model, text):
    assert model().decode(model().encode(text)) == model().normalize(text)


@every_model
@settings(max_examples=30, deadline=None)
@given(text=TEXT)
def test_normalizing_twice_changes_nothing_more(model, text):
    once = model().normalize(text)
    assert model().decode(model().encode(once)) == model().normalize(once)


@every_model
@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_words_are_in_range_and_never_go_back(model, text):
    encoded = model().encode_words(text)
    assert encoded.ids == model().encode(text)
    assert len(encoded.words) == len(encoded.ids)
    assert encoded.words == sorted(encoded.words)
    assert set(encoded.words) <= set(range(len(text.split())))


@every_model
@settings(max_examples=15, deadline=None)
@given(text=TEXT)
def test_words_encoded_one_by_one_have_the_pieces_of_the_whole_text(model, text):
    text = " ".join(text.split())
    assert model().encode_words(text) == model()._encode_with_offsets(text)


def test_words_do_not_depend_on_the_words_encoded_before(monkeypatch):
    monkeypatch.setattr("nmt.data.tokenizer.subwords._REMEMBERED_WORDS", 2)
    model = Subwords(subwords(ModelType.bpe).model)
    text = "the house sees the river the house"
    first = model.encode_words(text)
    assert model.encode_words(text) == first
    assert first.ids == model.encode(text)
    assert len(model._ids_of_word) <= 2


def is_plain(word: str) -> bool:
    """Whether normalization leaves one word of it, whatever stands before and after."""
    safe = not any(unicodedata.category(c)[0] in "CM" or c == "\u2581" for c in unicodedata.normalize("NFKD", word))
    return safe and len(word.split()) == 1 and len(unicodedata.normalize("NFKC", word).split()) == 1


@pytest.mark.parametrize("kind", ModelType)
@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(TEXT.filter(is_plain), max_size=6), space=st.sampled_from([" ", "\u3000", "\x1c", " \t", "\u2028"])
)
def test_the_pieces_of_a_word_print_that_word(kind, words, space):
    model = subwords(kind)
    encoded = model.encode_words(space.join(words))
    for k, word in enumerate(words):
        assert model.decode([i for i, w in zip(*encoded, strict=True) if w == k]) == model.normalize(word)


@every_model
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_words_of_any_output_cover_its_text(model, data):
    ids = data.draw(st.lists(st.integers(0, len(model()) - 1), max_size=20))
    text, words = model().decode_words(ids)
    assert text == model().decode(ids)
    assert [w for w in words if w >= 0] == sorted(w for w in words if w >= 0)
    assert {w for w in words if w >= 0} == set(range(len(text.split())))
    assert all(words[k] == -1 for k, i in enumerate(ids) if i in (PAD, BOS, EOS))


@every_model
def test_an_output_is_always_one_line(model):
    assert model().decode(range(len(model()))).splitlines() == [model().decode(range(len(model())))]


def test_words_of_output_are_the_words_of_the_same_input():
    model = subwords(ModelType.unigram)
    ids, words = model.encode_words("the house sees the 😀 river .")
    assert model.decode_words([*ids, EOS]) == ("the house sees the 😀 river .", [*words, -1])


def test_a_ligature_after_a_space_belongs_to_its_own_word():
    assert subwords(ModelType.char).encode_words("the \ufb01nd").words == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_a_dropped_character_does_not_pull_the_next_word_to_its_own():
    model = subwords(ModelType.word)
    ids, words = model.encode_words("the\ufffd \ufb01")
    assert model.decode([i for i, word in zip(ids, words, strict=True) if word == 1]) == "fi"


def test_a_bare_space_piece_belongs_to_the_word_that_follows():
    ids, words = subwords(ModelType.bpe).encode_words("the 😀")
    assert subwords(ModelType.bpe).pieces(ids) == ["▁the", "▁", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]
    assert words == [0, 1, 1, 1, 1, 1]


def test_a_batch_is_many_of_one():
    texts = [pair.src for pair in Sentences(50)] + ["", "▁", "\ud800", "the 😀"]
    for model in (subwords(ModelType.unigram), foreign()):
        assert model.encode_batch(texts, num_threads=2) == [model.encode(text) for text in texts]


def test_blank_text_has_no_pieces():
    for model in MODELS:
        assert [model().encode(text) for text in ("", " ", "\u2028 \t", "\xa0")] == [[], [], [], []]


@pytest.mark.parametrize("kind", [ModelType.unigram, ModelType.bpe, ModelType.char])
def test_an_unknown_character_prints_the_unknown_sign(kind):
    model = subwords(kind, byte_fallback=False)
    assert UNK in model.encode("the 😀")
    assert model.decode(model.encode("the 😀")) == f"the {UNK_SURFACE}"


def test_an_unknown_word_stays_a_word():
    model = subwords(ModelType.word, byte_fallback=False)
    assert model.decode(model.encode("the zzz house qqq .")) == f"the {UNK_SURFACE} house {UNK_SURFACE} ."


def test_special_ids_print_nothing():
    model = subwords(ModelType.unigram)
    ids = model.encode("the house")
    assert model.decode([BOS, *ids, EOS, PAD, PAD]) == "the house"


def test_typed_special_pieces_are_text():
    ids = subwords(ModelType.unigram).encode("<s> </s> <unk> <pad> <0x41>")
    assert not {PAD, UNK, BOS, EOS} & set(ids)


@pytest.mark.parametrize("options", [{}, {"pad_id": 7, "unk_id": 3, "bos_id": 9, "eos_id": 0}, {"bos_id": -1}])
def test_own_models_get_our_special_ids(options):
    model = foreign(**options)
    assert model.pieces([PAD, UNK, BOS, EOS]) == list(NAMES)
    assert len(set(model.pieces(range(len(model))))) == len(model)
    ids = model.encode("the house sees the river .")
    assert min(ids) > EOS
    assert model.decode(ids) == "the house sees the river ."


def test_models_trained_here_keep_their_ids():
    model = subwords(ModelType.unigram)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.model)
    assert model.encode("the house 😀") == theirs.encode("the house 😀")
    assert len(model) == theirs.get_piece_size() == 330


@pytest.mark.parametrize("kind", ModelType)
def test_two_trainings_give_the_same_bytes(kind):
    assert train(model_type=kind, src_vocab_size=SIZES[kind], input_sentence_size=100).src.model == subwords_of(kind)


@functools.cache
def subwords_of(kind: ModelType) -> bytes:
    return train(model_type=kind, src_vocab_size=SIZES[kind], input_sentence_size=100).src.model


def test_another_seed_draws_another_sample():
    assert (
        train(model_type=ModelType.bpe, input_sentence_size=20, src_vocab_size=310, seed=1).digest()
        != train(model_type=ModelType.bpe, input_sentence_size=20, src_vocab_size=310, seed=2).digest()
    )


def test_a_joint_tokenizer_is_one_object():
    tokenizer = train()
    assert tokenizer.joint
    assert tokenizer.src is tokenizer.tgt


def test_a_joint_tokenizer_has_one_set_of_ids_and_a_normalization_for_each_side(tmp_path):
    train(ODD_LINES, src_vocab_size=400, tgt_normalization=Normalization.identity).save(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.joint
    assert tokenizer.src.vocabulary == tokenizer.tgt.vocabulary
    for text in ODD_TEXTS:
        assert tokenizer.tgt.decode(tokenizer.tgt.encode(text)) == text
        assert tokenizer.src.normalize(text) == tokenizer.src.normalize(unicodedata.normalize("NFKC", text)) != text


def test_two_models_of_one_size_are_not_joint():
    corpus = Sentences()
    assert not train(corpus, joint=False, src_vocab_size=300, tgt_vocab_size=300).joint


@pytest.mark.parametrize("rule", Normalization)
def test_each_side_has_the_normalization_it_was_given(rule):
    sizes = {"joint": False, "src_vocab_size": 370, "tgt_vocab_size": 370}
    other = Normalization.nfkc if rule is Normalization.identity else Normalization.identity
    tokenizer = train(ODD_LINES, **sizes, src_normalization=rule, tgt_normalization=other)
    for side, own in ((tokenizer.src, rule), (tokenizer.tgt, other)):
        wanted = "ﬁN Ω" if own is Normalization.identity else "fin ω" if own.value.endswith("_cf") else "fiN Ω"
        assert side.decode(side.encode("ﬁN Ω")) == wanted


def test_a_sentencepiece_without_spaces_in_front_is_refused(monkeypatch):
    """SentencePiece 0.2.2 makes such models from the same arguments."""
    model = train().tgt.model
    old = sentencepiece.SentencePieceNormalizer(rule_name="identity", add_dummy_prefix=False, escape_whitespaces=False)
    monkeypatch.setattr(normalization, "_normalizer", lambda rule: old)
    with pytest.raises(ValueError, match="too old: install"):
        normalization.with_normalization(model, Normalization.identity)


def test_the_target_keeps_its_characters_unless_told_otherwise():
    options = {
        "joint": False,
        "src_vocab_size": 400,
        "tgt_vocab_size": 400,
        "input_sentence_size": 1000,
        "seed": 1,
        "byte_fallback": True,
    }
    tokenizer = train_tokenizer(ODD_LINES, model_type=ModelType.bpe, character_coverage=1.0, **options)
    for text in ODD_TEXTS:
        assert tokenizer.tgt.decode(tokenizer.tgt.encode(text)) == text


@pytest.mark.parametrize("kind", ModelType)
@settings(max_examples=100, deadline=None)
@given(text=TEXT.filter(lambda text: text.strip() and "\U0010ffff" not in text))
def test_identity_gives_back_every_character_but_the_ends_of_lines(kind, text):
    one_line = "".join(" " if c in LINE_ENDS else c for c in text)
    assert keeping(kind).normalize(text) == keeping(kind).decode(keeping(kind).encode(text)) == one_line


def test_a_space_that_is_kept_is_in_no_piece_with_a_word():
    for kind in (ModelType.unigram, ModelType.bpe, ModelType.word):
        pieces = [piece.replace("\u2581", " ") for piece in keeping(kind).vocabulary]
        assert not [piece for piece in pieces if len(piece.split()) > 1]
        assert not [piece for piece in pieces if piece.split() and set(piece) & set("\u00a0\u202f\u3000\t")]


def test_words_around_a_space_that_is_kept_are_as_str_split_has_them():
    for kind in ModelType:
        text = "the\u00a0house  sees\u3000the river"
        ids, words = keeping(kind).encode_words(text)
        assert set(words) == {0, 1, 2, 3, 4}
        assert keeping(kind).decode_words(ids) == (text, keeping(kind).decode_words(ids).words)
        assert set(keeping(kind).decode_words(ids).words) == {0, 1, 2, 3, 4}


def test_two_models_see_their_own_side_only():
    tokenizer = train(joint=False, model_type=ModelType.word, src_vocab_size=280, tgt_vocab_size=282)
    assert not tokenizer.joint
    assert (len(tokenizer.src), len(tokenizer.tgt)) == (280, 282)
    assert "▁the" in tokenizer.src.pieces(range(280))
    assert "▁the" not in tokenizer.tgt.pieces(range(282))


@pytest.mark.parametrize("joint", [True, False])
def test_a_saved_tokenizer_loads_the_same(tmp_path, joint):
    tokenizer = train(joint=joint, src_vocab_size=300, tgt_vocab_size=0 if joint else 302)
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.joint == joint
    assert loaded.digest() == tokenizer.digest()
    models = {path.name for path in (tmp_path / "tokenizer").glob("*.model")}
    assert models == ({"joint.model"} if joint else {"src.model", "tgt.model"})


def test_own_model_files_make_a_tokenizer(tmp_path):
    (tmp_path / "a.model").write_bytes(foreign().model)
    (tmp_path / "b.model").write_bytes(subwords(ModelType.bpe).model)
    assert not Tokenizer.from_files(tmp_path / "a.model", tmp_path / "b.model").joint
    assert Tokenizer.from_files(tmp_path / "a.model", tmp_path / "a.model").joint


def test_no_line_is_left_out_of_training_for_its_length_or_a_character():
    long = "qaqa" * 2000, "qeqe " * 2000, "qiqi\u2585 qoqo\0"  # SentencePiece would leave all of these out
    letters = set(
        "".join(train(Given(*long, *ODD_TEXTS), model_type=ModelType.char, src_vocab_size=999).src.vocabulary)
    )
    assert letters >= set("qaeio")


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("text", ["", " ", "\u00a0", "\u2028", "\u2585"])
def test_text_that_is_blank_throughout_is_named(text, joint):
    for rule in Normalization:
        rules = {"src_normalization": rule, "tgt_normalization": rule}
        message = message_of(lambda: train(Given(text, text), joint=joint, tgt_vocab_size=0 if joint else 330, **rules))  # noqa: B023
        assert message.startswith("data.train: its source side is blank")


def test_a_second_training_reads_no_corpus(tmp_path):
    corpus = Sentences()
    first = train(corpus, cache=tmp_path)
    reads = corpus.reads
    assert train(corpus, cache=tmp_path).digest() == first.digest()
    assert corpus.reads == reads


def test_other_options_are_trained_anew(tmp_path):
    assert len(train(cache=tmp_path).src) == 330
    assert len(train(cache=tmp_path, src_vocab_size=320).src) == 320
    assert train(cache=tmp_path, src_normalization=Normalization.identity).src.normalize("ﬁ") == "ﬁ"
    assert train(cache=tmp_path, tgt_normalization=Normalization.identity).tgt.normalize("ﬁ") == "ﬁ"


def test_a_damaged_cached_tokenizer_is_made_anew(tmp_path):
    digest = train(cache=tmp_path).digest()
    (model,) = tmp_path.glob("*/joint.model")
    model.write_bytes(model.read_bytes()[:-300])
    assert train(cache=tmp_path).digest() == digest
    assert Tokenizer.load(model.parent).digest() == digest


def message_of(action) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [ModelType.unigram, ModelType.bpe, ModelType.word])
def test_a_size_the_text_cannot_fill_is_told_the_largest(kind):
    message = message_of(lambda: train(model_type=kind, src_vocab_size=9999))
    assert "tokenizer.vocab_size=9999 is more than the text allows" in message
    largest = int(message.split("try tokenizer.vocab_size=")[1].split()[0])
    assert len(train(model_type=kind, src_vocab_size=largest).src) == largest


@pytest.mark.parametrize("kind", ModelType)
def test_a_size_too_small_is_told_what_would_do(kind):
    message = message_of(lambda: train(model_type=kind, src_vocab_size=20))
    assert "tokenizer.vocab_size=20 is too small" in message
    smallest = int(message.split("try tokenizer.vocab_size=")[1].split()[0])
    assert len(train(model_type=kind, src_vocab_size=smallest).src) == smallest


def test_text_without_words_is_no_internal_error():
    message = message_of(lambda: train(Given("<s> </s>"), model_type=ModelType.word, src_vocab_size=300))
    assert message.startswith("the text has nothing of which kind word makes pieces; try tokenizer.model_type=bpe")


def test_a_reason_of_sentencepiece_comes_without_its_source_file():
    from nmt.data.tokenizer.train import _explain

    for said, reason in (("[!sentences_.empty()]", "it gives no reason"), ("[(a) == (b)] too bad.", "too bad.")):
        options = TokenizerOptions(model_type=ModelType.bpe)
        message = _explain(f"INTERNAL: src/trainer_interface.cc(467) {said}", options, 300, "tokenizer.vocab_size")
        assert message.endswith(f"kind bpe and tokenizer.vocab_size=300: {reason}")


@pytest.mark.parametrize(("sizes", "key"), [((9999, 400), "src_vocab_size"), ((300, 9999), "tgt_vocab_size")])
def test_with_two_models_the_side_is_named(sizes, key):
    message = message_of(lambda: train(joint=False, src_vocab_size=sizes[0], tgt_vocab_size=sizes[1]))
    assert f"tokenizer.{key}=9999 is more than the text allows" in message


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"\x0a\x05hello", b"\x00" * 99])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    (tmp_path / "x.model").write_bytes(content)
    assert "x.model is not a SentencePiece model" in message_of(
        lambda: Tokenizer.from_files(tmp_path / "x.model", tmp_path / "x.model")
    )


def test_a_missing_model_is_named(tmp_path):
    assert "nope.model: No such file" in message_of(lambda: Tokenizer.from_files(tmp_path / "nope.model", "b"))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    assert "holds no tokenizer" in message_of(lambda: Tokenizer.load(tmp_path))


def test_training_says_nothing_on_the_terminal(capfd):
    train(input_sentence_size=50, src_vocab_size=310)
    with pytest.raises(ValueError, match="too small"):
        train(src_vocab_size=5)
    assert capfd.readouterr() == ("", "")


def test_multi30k_comes_back_normalized(corpora):
    from nmt.corpus import read_files

    corpus = read_files([corpora / "multi30k" / "val"], "de", "en")
    model = train(corpus, model_type=ModelType.bpe, src_vocab_size=2000).src
    for pair in corpus:
        assert model.decode(model.encode(pair.src)) == model.normalize(pair.src)
