"""Every mistake on a command line gets one line that says what, where and what to try."""

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "hiden_size=3",
            "hiden_size: no such key, did you mean model.encoder.hidden or model.decoder.hidden or model.aligner",
        ),
        (
            "model.hiden_size=3",
            "legal under model are encoder, decoder, attention, transformer, tied_embeddings, initialization",
        ),
        (
            "model.encoder.hiden=3",
            "did you mean hidden; legal under model.encoder are layer_norm, residual, transition_depth, kind, cell",
        ),
        ("model.encodr.hidden=3", "model.encodr: no such key, did you mean encoder"),
        ("optim.schedule.warmpu=3", "optim.schedule.warmpu: no such key, did you mean warmup"),
        ("+model.encoder.hiden=3", "model.encoder.hiden: no such key, did you mean hidden"),
        ("++hiden=3", "hiden: no such key"),
        ("lr=3", "lr: no such key, did you mean optim.lr"),
        ("modle/attention=dot", "modle/attention: no such key"),
    ],
)
def test_an_unknown_key_is_refused_at_any_depth_with_the_legal_ones(refusal, word, said):
    assert said in refusal("train", word)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "model.encoder.cell=gruu",
            "model.encoder.cell=gruu: no such word, did you mean gru; legal are gru, gru_reset_after",
        ),
        (
            "model.attention.score=global_atention",
            "legal are additive, dot, scaled_dot, general, concat, coverage, location, gaussian",
        ),
        ("model.attention.extent=locl_m", "no such word, did you mean local_m; legal are global, local_m, local_p"),
        ("model.attention.normalizer=softmx", "did you mean softmax; legal are softmax, sparsemax, entmax"),
        ("model/attention=global_atention", "legal are additive, concat, coverage, dot, gaussian, general, location"),
        ("data=fils", "data=fils: no such choice, did you mean files; legal are demo, files, hub"),
        ("preset=papr", "preset=papr: no such choice, did you mean paper"),
        (
            "+experiment=bahdanu",
            "+experiment=bahdanu: no such choice, did you mean bahdanau; legal are aligner, alignment_head, bahdanau,",
        ),
        ("experiment=bahdanau", "write +experiment=NAME, with a plus"),
        ("model.attention=dot", "or model/attention=CHOICE"),
        ("device=gpu", "legal are auto, cpu, cuda"),
        ("precision=half", "legal are auto, fp32, bf16, fp16"),
        ("data.empty_lines=ignore", "legal are error, skip, keep"),
    ],
)
def test_an_unknown_word_is_refused_with_the_legal_ones(refusal, word, said):
    assert said in refusal("train", word)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optim.lr=fast", "optim.lr=fast: give a number, such as 0.001 or 1e-3"),
        ("optim.lr=", "optim.lr=: give a number"),
        ("model.encoder.hidden=1.5", "model.encoder.hidden=1.5: give a whole number"),
        ("model.encoder.hidden=null", "model.encoder.hidden=null: this key needs a value"),
        ("trainer.tensorboard=maybe", "trainer.tensorboard=maybe: give true or false"),
        ("data.train={a: 3}", "data.train={'a': 3}: give a path without its language suffix, or a list of such"),
        ("data.train=[{a: b}]", "give a path without its language suffix"),
        ("optim.lr=${nowhere}", "nowhere"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(refusal, word, said):
    assert said in refusal("train", word)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("stray", "stray: not key=value; see --help"),
        ("optim.lr", "optim.lr: not key=value"),
        ("data.train=[a", "data.train=[a: cannot be read; if it is all one text, quote it twice: \"data.train='[a'\""),
        ("seed=1,2", "seed=1,2: more than one value; write seed=[1,2] for a list, or add --multirun to run each"),
        ("~optim.lr", "~optim.lr: this key cannot be taken away"),
        ("~model", "model: cannot be replaced or taken away whole"),
        ("+seed=3", "+seed: the key exists; write seed=VALUE, without the plus"),
        ("+model/attention=dot", "write model/attention=CHOICE, without the plus"),
        ("--epochs=3", "unrecognized arguments: --epochs=3; settings are written key=value, without dashes"),
    ],
)
def test_what_is_not_a_setting_is_refused(refusal, word, said):
    assert said in refusal("train", word)


@pytest.mark.parametrize("word", ["optim.lr=1e-3", "optim.lr='1e-3'", 'optim.lr="1e-3"', "optim.lr=.001"])
def test_numbers_may_be_written_with_an_exponent_or_quoted(ask, word):
    assert ask("train", word).configs[0].optim.lr == 1e-3


@pytest.mark.parametrize("text", ["2026_01_15", "1.50", "1e3", "-.5", "true", "NaN", "007"])
def test_text_that_looks_like_a_number_remains_as_it_is(ask, text):
    config = ask("train", f"run={text}", f"name={text}", f"data.train=[{text},b]", "seed=1_0").configs[0]
    assert (config.run, config.name, config.data.train, config.seed) == (text, text, [text, "b"], 10)
    assert ask("compare", f"runs=['a b',{text}]", f"test={text}").configs[0].tests == [text]
    assert ask("compare", f"runs=['a b',{text}]").configs[0].runs == ["a b", text]
    assert ask("compare", f"runs=[{text}, b]").configs[0].runs == [text, "b"]
    assert ask("train", f"++name={text}").configs[0].name == text
    found = ask("train", "--multirun", f"name={text},b", f"run=x-{text}").configs
    assert [config.name for config in found] == [text, "b"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"It costs 1\,50", "It costs 1,50"),
        ("'1.50'", "1.50"),
        ("a 1.50", "a 1.50"),
        (r"a\ ", "a "),
        ("null", None),
        (r"ä\, 1.50", "ä, 1.50"),
    ],
)
def test_other_text_is_read_as_by_hydra(ask, written, text):
    assert ask("translate", "checkpoint=x", f"prefix={written}").configs[0].prefix == text


def test_lists_may_mix_text_with_and_without_quotes(ask):
    config = ask("train", "data.train=['ä',ö, 1.50 ,\"b c\",ü(1.50)]", "run=x").configs[0]
    assert config.data.train == ["ä", "ö", "1.50", "b c", "ü(1.50)"]


def test_functions_of_sweeps_have_numbers(ask):
    found = ask("train", "--multirun", "name=range(1,6,2)", "run=x").configs
    assert [config.name for config in found] == ["1", "3", "5"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["1e-3", "'1e-3'", '"1e-3"', "1.0e-3"])
def test_an_exponent_in_a_yaml_file_is_a_number_though_yaml_reads_it_as_text(ask, tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\noptim: {{lr: {text}}}\n")
    config = ask("train", f"--config-dir={folder}", "+experiment=mine").configs[0]
    assert config.optim.lr == 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim: {lr: fast}", "optim.lr=fast: give a number"),
        ("model: {encoder: {hiden: 3}}", "model.encoder.hiden: no such key, did you mean hidden"),
        ("model: {encoder: {cell: gruu}}", "model.encoder.cell=gruu: no such word, did you mean gru"),
        ("nam: x", "nam: no such key, did you mean name"),
        ("a: [", "mine.yaml"),
        ("optim: 3", "experiment/mine: 3 stands where the keys of optim belong"),
    ],
)
def test_a_mistake_in_ones_own_yaml_file_is_refused(refusal, tmp_path_factory, text, said):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    assert said in refusal("train", f"--config-dir={folder}", "+experiment=mine")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["evaluate", "translate"])
@pytest.mark.parametrize(
    "word", ["model.encoder.hidden=3", "+model.tied_embeddings=target", "model/attention=dot", "tokenizer.vocab_size=9"]
)
def test_model_and_tokenizer_come_from_the_checkpoint(refusal, verb, word):
    assert "model and tokenizer come from the checkpoint" in refusal(verb, "checkpoint=x", word)


@pytest.mark.parametrize(
    ("verb", "word", "said"),
    [
        ("translate", "chekpoint=x", "chekpoint: no such key, did you mean checkpoint"),
        ("translate", "beam=4", "beam: no such key, did you mean decode.beam"),
        ("translate", "decode.beem=4", "decode.beem: no such key, did you mean beam"),
        ("translate", "decode.nbest=7", "decode.nbest=7 is more than the 5 of decode.beam: try decode.beam=7"),
        ("translate", "decode.length_penalty=gnm", "did you mean gnmt; legal are none, average, gnmt"),
        ("evaluate", "data=files", "data.kind"),
        ("evaluate", "data.train=x", "data.train: no such key; legal under data are kind, src, tgt, test"),
        ("evaluate", "+experiment=bahdanau", "cannot be set here: model and tokenizer come from the checkpoint"),
        ("evaluate", "heatmaps=-1", "heatmaps=-1 is impossible: the least is 0"),
        ("evaluate", "metrics=[bleu,comet]", "metrics=comet is not known: give one of bleu, chrf, ter"),
        ("evaluate", "metrics=bleu", "metrics=bleu: give a list, such as metrics=[ONE,OTHER]"),
        ("compare", "runs=x", "runs=x: give a list, such as runs=[ONE,OTHER]"),
        ("compare", "runs={a: 1}", "runs={a: 1}: give a list, such as runs=[ONE,OTHER]"),
        ("compare", "runs=[x,[y]]", "runs=['x', ['y']]: ['y'] is no path; give a list of paths"),
        ("calibrate", "checkpoint=[a,b]", "checkpoint=['a', 'b']: give one value, not several"),
        ("translate", "out={a: 1}", "out={'a': 1}: give one value, not several"),
        ("evaluate", "metrics=[]", "metrics=[] leaves nothing to compute: give some of bleu, chrf, ter"),
        ("evaluate", "ter_max_tokens=0", "ter_max_tokens=0 is impossible: the least is 1"),
        ("evaluate", "ter_max_seconds=0", "ter_max_seconds=0.0 is impossible: give a number above 0"),
        ("evaluate", "data.bleu_tokenizer=moses", "data.bleu_tokenizer=moses is not known: give one of 13a, intl, zh"),
        ("train", "data.bleu_tokenizer=moses", "data.bleu_tokenizer=moses is not known: give one of 13a, intl, zh"),
    ],
)
def test_the_other_commands_speak_the_same_way(refusal, verb, word, said):
    assert said in refusal(verb, word)


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(refusal):
    def miss(_config):
        Path("nowhere/x").read_text()

    assert refusal("train", main=miss) == "nowhere/x: No such file or directory"


def test_too_little_memory_is_said_with_what_to_try(refusal):
    def exhaust(_config):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    assert "not enough memory for this: try smaller sizes" in refusal("train", main=exhaust)


def test_a_bug_of_ours_keeps_its_traceback(ask):
    def fail(_config):
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        ask("train", main=fail)


def test_an_interrupt_ends_with_130_and_no_traceback(ask):
    def interrupt(_config):
        raise KeyboardInterrupt

    result = ask("train", main=interrupt)
    assert (result.code, result.err) == (130, "")


@pytest.mark.slow
def test_a_sweep_runs_every_job(ask):
    result = ask("train", "--multirun", "seed=1,2", "+experiment=bahdanau,luong_dot")
    assert [(config.name, config.seed) for config in result.configs] == [
        ("bahdanau", 1),
        ("luong_dot", 1),
        ("bahdanau", 2),
        ("luong_dot", 2),
    ]
    assert (result.code, result.err) == (0, "")


@pytest.mark.slow
def test_a_job_that_is_refused_does_not_end_the_sweep(ask):
    result = ask("train", "--multirun", "model.decoder.hidden=0,8", "seed=3")
    assert [config.model.decoder.hidden for config in result.configs] == [8]
    assert result.code == 2
    assert result.err.splitlines() == ["error: model.decoder.hidden=0 is impossible: the least is 1"]


@pytest.mark.slow
def test_jobs_of_a_sweep_can_be_told_apart_by_their_folders(ask):
    result = ask("train", "--multirun", "seed=1,2", "run=runs/seed-${seed}")
    assert [config.run for config in result.configs] == ["runs/seed-1", "runs/seed-2"]


def test_what_was_asked_for_arrives_as_it_was_written(ask):
    assert ask("train", "seed=4", "run=x-${seed}").overrides == [["seed=4", "run=x-${seed}"]]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate", "translate", "align"])
def test_help_has_five_examples_in_a_hundred_columns(ask, verb):
    result = ask(verb, "--help")
    assert result.code == 0
    lines = result.out.splitlines()
    lists = ("experiment: ", "preset: ")  # which grow
    assert max(len(line) for line in lines if not line.startswith(lists)) <= 100
    assert sum(f"python -m nmt.{verb}" in line for line in lines[lines.index("Examples") :]) >= 5


@pytest.mark.slow
def test_help_of_training_names_every_group_and_option(ask):
    out = ask("train", "--help").out
    for word in ("files", "iwslt17", "wmt14_enfr", "bahdanau", "luong_concat", "rnnencdec", "scaled_dot", "paper"):
        assert word in out
    assert "seed=1,2,3 'run=runs/seed-${seed}'" in out, "an interpolation is shown as it is typed"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate", "translate"])
def test_the_configuration_can_be_shown(ask, verb):
    result = ask(verb, "--cfg", "job")
    assert result.code == 0
    assert "beam: 5" in result.out
    assert not result.configs


@pytest.mark.slow
def test_hydra_has_its_own_help(ask):
    assert "--multirun" in ask("train", "--hydra-help").out
