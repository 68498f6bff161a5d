"""Every experiment, size and corpus composes into a model; the published ones have the published sizes."""

import json
import random
from pathlib import Path

import pytest
import torch

from nmt import build, evaluate
from nmt.attention.scores import ScoreFunction
from nmt.cli import CONFIGS
from nmt.config.schema import DataConfig, DataKind, DecoderKind, TrainConfig
from nmt.config.schema import TestConfig as Asked  # under its own name pytest would collect it
from nmt.data.batches import BatchType
from nmt.data.tokenizer import ModelType
from nmt.layers.cells import CellKind
from nmt.model.decoder import InitHidden
from nmt.model.initialization import Initialization, initialize
from nmt.training.optim import Normalization, OptimizerName, ScheduleName
from tests.support.commands import call, compose_config

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
CORPORA = sorted(path.stem for path in (CONFIGS / "data").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
LUONG = ["luong_concat", "luong_dot", "luong_general"]


def composed(*overrides: str) -> TrainConfig:
    config = compose_config(overrides)
    assert isinstance(config, TrainConfig)
    return config


def shapes(config: TrainConfig, src: int = 100, tgt: int = 100) -> dict[str, tuple[int, ...]]:
    """The shape of each weight, without the weights."""
    with torch.device("meta"):
        model = build.build_model(config.model, src, tgt)
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_another_score_on_the_command_line_replaces_that_of_the_experiment(experiment):
    config = composed(f"+experiment={experiment}", "model/attention=scaled_dot")
    assert config.model.attention.score is ScoreFunction.scaled_dot
    assert config.model.attention.size is None


def test_the_experiments_are_these():
    kinds = ["conditional_gru", "entmax", "gaussian", "hard", "hard_marginal", "local_m", "local_p", "multihead"]
    transformers = ["transformer", "transformer_multi30k"]
    published = ["bahdanau", "coverage", "hansards", *LUONG, "multi30k", "multi30k_large", "rnnencdec"]
    assert sorted(["aligner", "alignment_head", *published, *kinds, *transformers]) == EXPERIMENTS


def test_the_corpora_are_these():
    assert CORPORA == ["demo", "files", "hub", "iwslt17", "multi30k", "wmt14_ende", "wmt14_enfr"]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_builds_and_bears_its_name(experiment):
    config = composed(f"+experiment={experiment}")
    assert config.name == experiment
    assert shapes(config)
    claim = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()
    assert "# Claim: " in claim


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("preset", ["demo", "base", "large"])
def test_an_experiment_can_have_any_size_of_ours(experiment, preset):
    assert shapes(composed(f"+experiment={experiment}", f"preset={preset}"))


@pytest.mark.slow
@pytest.mark.parametrize("corpus", CORPORA)
def test_a_corpus_composes_with_a_size_that_fits_it(corpus):
    config = composed(f"data={corpus}")
    assert shapes(config)
    assert config.trainer.max_epochs or config.trainer.max_updates or config.trainer.max_minutes
    assert config == composed(f"data={corpus}", f"preset={corpus}")


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_size_stands_alone(preset):
    joint = ["tokenizer.joint=true"] if preset == "multi30k" else []
    assert shapes(composed(f"preset={preset}", *joint))


@pytest.mark.parametrize(
    ("corpus", "name", "config", "languages"),
    [
        ("multi30k", "bentrevett/multi30k", None, ("de", "en")),
        ("iwslt17", "IWSLT/iwslt2017", "iwslt2017-de-en", ("de", "en")),
        ("wmt14_ende", "wmt/wmt14", "de-en", ("en", "de")),
        ("wmt14_enfr", "wmt/wmt14", "fr-en", ("en", "fr")),
    ],
)
def test_a_preset_names_its_corpus_on_the_hub(corpus, name, config, languages):
    data = composed(f"data={corpus}").data
    assert (data.kind, data.name, data.config) == (DataKind.hub, name, config)
    assert (data.src, data.tgt) == languages
    assert (data.train, data.valid, data.test) == (["train"], "validation", "test")


@pytest.mark.slow
@pytest.mark.parametrize("score", list(ScoreFunction))
def test_the_width_of_attention_is_that_of_the_size_whatever_the_score(score):
    config = composed(f"model/attention={score.value}", "preset=paper", "model.decoder.hidden=2000")
    assert config.model.attention.size == (
        1000 if score in (ScoreFunction.additive, ScoreFunction.concat, ScoreFunction.coverage) else None
    )


def test_bahdanau_has_the_published_sizes():
    config = composed("+experiment=bahdanau", "data=files", "preset=paper")
    encoder, decoder = config.model.encoder, config.model.decoder
    assert (encoder.embedding, encoder.hidden, encoder.layers, encoder.bidirectional) == (620, 1000, 1, True)
    assert (decoder.embedding, decoder.hidden, decoder.layers, decoder.readout) == (620, 1000, 1, 500)
    assert (encoder.cell, decoder.cell) == (CellKind.gru, CellKind.gru)
    assert (decoder.kind, decoder.init_hidden) == (DecoderKind.bahdanau, InitHidden.backward_first)
    assert (config.model.attention.score, config.model.attention.size) == (ScoreFunction.additive, 1000)
    assert (config.tokenizer.model_type, config.tokenizer.joint, config.tokenizer.vocab_size) == (
        ModelType.word,
        False,
        30_000,
    )
    assert config.tokenizer.input_sentence_size == 1_000_000
    assert (config.data.max_length, config.batch.size, config.batch.type) == (50, 80, BatchType.sentences)


def test_bahdanau_is_trained_as_published():
    config = composed("+experiment=bahdanau", "data=files", "preset=paper")
    optim = config.optim
    assert (optim.name, optim.rho, optim.eps, optim.max_grad_norm) == (OptimizerName.adadelta, 0.95, 1e-6, 1.0)
    assert optim.normalization is Normalization.sentences
    assert config.batch.bucket_batches == 20
    assert (optim.lr, config.loss.label_smoothing, optim.ema_decay, optim.weight_decay) == (1.0, 0.0, 0.0, 0.0)
    assert optim.schedule.name is ScheduleName.constant
    assert config.trainer.max_epochs is None


def test_bahdanaus_weights_have_the_published_shapes():
    found = shapes(composed("+experiment=bahdanau", "preset=paper"), 30_000, 30_000)
    assert found["encoder.embedding.weight"] == found["decoder.embedding.weight"] == (30_000, 620)
    assert found["output.weight"] == (30_000, 500)
    assert found["decoder.readout.state.weight"] == (1000, 1000)  # two pieces for each of 500 maxout units
    assert found["decoder.readout.context.weight"] == (1000, 2000)
    assert found["decoder.attention.query.weight"] == (1000, 1000)
    assert found["decoder.attention.key.weight"] == (1000, 2000)
    assert found["decoder.attention.v"] == (1000,)


@pytest.mark.slow
def test_bahdanaus_weights_begin_as_published():
    config = composed("+experiment=bahdanau", "preset=paper")
    assert config.model.initialization is Initialization.bahdanau
    torch.manual_seed(1)
    model = build.build_model(config.model, 40, 40)
    initialize(model, config.model.initialization)
    weights = model.state_dict()
    assert weights["output.weight"].std().item() == pytest.approx(0.01, rel=0.05)
    assert weights["decoder.readout.context.weight"].std().item() == pytest.approx(0.01, rel=0.05)
    assert weights["decoder.attention.key.weight"].std().item() == pytest.approx(0.001, rel=0.05)
    assert not weights["decoder.attention.v"].any()
    assert not weights["output.bias"].any()


@pytest.mark.parametrize("experiment", LUONG)
def test_luong_has_the_published_sizes(experiment):
    config = composed(f"+experiment={experiment}", "data=files", "preset=luong")
    encoder, decoder = config.model.encoder, config.model.decoder
    assert (encoder.embedding, encoder.hidden, encoder.layers, encoder.bidirectional) == (1000, 1000, 4, False)
    assert (decoder.embedding, decoder.hidden, decoder.layers) == (1000, 1000, 4)
    assert (encoder.cell, decoder.cell) == (CellKind.lstm, CellKind.lstm)
    assert (encoder.dropout, decoder.dropout) == (0.2, 0.2)
    assert (decoder.kind, decoder.init_hidden, decoder.input_feeding) == (DecoderKind.luong, InitHidden.last, True)
    assert config.model.attention.score.value == experiment.removeprefix("luong_")
    assert (config.tokenizer.model_type, config.tokenizer.vocab_size, config.model.initialization) == (
        ModelType.word,
        50_000,
        Initialization.luong,
    )
    assert config.tokenizer.input_sentence_size == 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("experiment", LUONG)
def test_luong_is_trained_as_published(experiment):
    config = composed(f"+experiment={experiment}", "data=files", "preset=luong")
    assert (config.optim.name, config.optim.lr, config.optim.max_grad_norm) == (OptimizerName.sgd, 1.0, 5.0)
    assert config.optim.normalization is Normalization.sentences
    assert (config.batch.size, config.batch.type) == (128, BatchType.sentences)
    assert config.trainer.max_epochs == 12
    schedule = config.optim.schedule
    assert (schedule.name, schedule.halvings) == (ScheduleName.halving, 4)
    assert round(12 * schedule.constant_fraction) == 8


def test_the_fixed_vector_is_as_wide_as_the_decoder_and_has_no_attention():
    config = composed("+experiment=rnnencdec", "preset=paper")
    assert (config.model.encoder.hidden, config.model.encoder.bidirectional) == (1000, False)
    with torch.device("meta"):
        assert not build.build_model(config.model, 50, 50).has_attention


def test_a_transformer_is_as_wide_as_its_embedding_and_four_times_as_wide_inside():
    found = shapes(composed("+experiment=transformer", "preset=base"))
    assert found["encoder.layers.2.self_attention.project.weight"] == (3 * 256, 256)
    assert found["decoder.layers.2.feedforward.inner.weight"] == (1024, 256)
    assert found["decoder.keys.weight"] == (3 * 256, 256)


@pytest.mark.parametrize("corpus", ["files", "multi30k"])
def test_the_multi30k_recipe_takes_files_or_the_hubs_copy(corpus):
    config = composed("+experiment=multi30k", f"data={corpus}")
    assert config.trainer.max_minutes == 30
    assert config.trainer.max_epochs is None
    assert shapes(config)


def sentence(rng: random.Random) -> tuple[str, str]:
    words = [rng.choice(["ab", "ba", "abba", "baab", "aab", "bba"]) for _ in range(rng.randint(2, 6))]
    return " ".join(words), " ".join(word[::-1] for word in words)


def write_hub_corpus(folder: Path, src: str, tgt: str, *, nested: bool) -> None:
    """Three splits of JSON lines: {"translation": {src: ..., tgt: ...}} as of WMT and IWSLT, or flat as of Multi30k."""
    rng = random.Random(1)
    folder.mkdir()
    for split, count in (("train", 60), ("validation", 6), ("test", 6)):
        with (folder / f"{split}.jsonl").open("w") as file:
            for _ in range(count):
                pair = dict(zip((src, tgt), sentence(rng), strict=True))
                file.write(json.dumps({"translation": pair} if nested else pair) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "src", "tgt", "nested"),
    [
        ("multi30k", "de", "en", False),
        ("iwslt17", "de", "en", True),
        ("wmt14_ende", "en", "de", True),
        ("wmt14_enfr", "en", "fr", True),
    ],
)
def test_a_preset_trains_on_local_data_of_its_shape(tmp_path, monkeypatch, corpus, src, tgt, nested):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_hub_corpus(tmp_path / "local", src, tgt, nested=nested)
    small = ["model.encoder.hidden=4", "model.encoder.embedding=4", "model.attention.size=4"]
    small += ["model.decoder.hidden=8", "model.decoder.embedding=4", "model.decoder.readout=4"]
    words = [f"data={corpus}", "data.name=local", "data.config=null", "run=run", *small]
    words += ["tokenizer.model_type=char", "tokenizer.vocab_size=8", "tokenizer.byte_fallback=false", "device=cpu"]
    words += ["trainer.max_updates=2", "trainer.tensorboard=false", "optim.schedule.warmup=1"]
    assert call(tmp_path, "train", *words).code == 0
    assert (tmp_path / "run" / "checkpoints" / "last" / "model.safetensors").is_file()
    assert "60 training pairs" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize("given", [(None, None), ("en", None), (None, "fr"), ("en", "fr")])
def test_the_demo_corpus_goes_both_ways(given):
    asked = dict(zip(("src", "tgt"), given, strict=True))
    turned = dict(zip(("tgt", "src"), given, strict=True))
    assert build.languages(DataConfig(**asked)) == ("en", "fr")
    assert build.languages(DataConfig(**turned)) == (("fr", "en") if any(given) else ("en", "fr"))


@pytest.mark.parametrize("given", [{"src": "de"}, {"tgt": "en", "src": "en"}, {"tgt": "it"}])
def test_the_demo_corpus_in_another_language_is_refused(given):
    with pytest.raises(ValueError, match=r"in English and French; try data\.src=fr data\.tgt=en"):
        build.languages(DataConfig(**given))


@pytest.mark.parametrize("key", ["train", "valid", "test", "name", "config"])
def test_the_demo_corpus_takes_no_other_text(key):
    with pytest.raises(ValueError, match=rf"data\.{key}=.*mine.*: the demo corpus brings its own; add data=files"):
        build.read_corpus(DataConfig(**{key: "mine"}), "train")  # type: ignore[arg-type]


def test_a_model_of_files_is_evaluated_on_the_demo_corpus():
    own = DataConfig(kind=DataKind.files, src="en", tgt="fr", train=["a"], valid="b", test="c")
    data = evaluate._test_of(own, Asked(kind=DataKind.demo, cache="d"))
    assert data == DataConfig(src="en", tgt="fr", cache="d")
