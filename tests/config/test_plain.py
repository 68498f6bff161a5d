"""A run's config.yaml may come from anywhere: what is none is refused at once, and what was written reads back."""

import time

import pytest
import yaml
from omegaconf import OmegaConf

from nmt.config.saved import read_saved, to_dict, to_yaml
from nmt.config.schema import DataConfig, TrainConfig
from nmt.training.options import TrainerOptions

NINE = [f"{each}: &{each} [{','.join([f'*{before}'] * 9)}]" for before, each in zip("abcdef", "bcdefg", strict=True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(["a: &a [x,x,x,x,x,x,x,x,x]", *NINE]), r"has an alias \(\*name\) in it"),
        ("seed: &a 1\ntrainer: {max_updates: *a}\n", "has an alias"),
        ("a: &a {b: 1}\n<<: *a\n", "has an alias"),
        ("[" * 20_000, "nested more than 32 deep"),
        ("a: " + "{b: " * 20_000, "nested more than 32 deep"),
        ("a: " + "x" * 2**20, "larger than .* bytes"),
        ("seed: " + "9" * 5000, "cannot be read"),
        ("a: [", "cannot be read"),
        ("- 1", "is no configuration"),
    ],
)
def test_a_file_that_would_keep_the_reader_busy_is_refused_at_once_in_one_line(tmp_path, text, said):
    (tmp_path / "config.yaml").write_text(text)
    begun = time.process_time()
    with pytest.raises(ValueError, match=rf"config\.yaml: .*{said}") as caught:
        read_saved(tmp_path / "config.yaml")
    assert time.process_time() - begun < 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["null", "1e3", "true", "~", "a: b", "- x", "*a", "&a", "{x}", "$x", "é 中", " x ", "#", "\\"]
)
def test_every_text_that_training_takes_reads_back(tmp_path, text):
    config = TrainConfig(
        data=DataConfig(train=[text, text]), run=text, name=text, trainer=TrainerOptions(max_updates=1)
    )
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(to_dict(config))), encoding="utf-8")
    assert read_saved(tmp_path / "config.yaml") == to_dict(config)


PLAIN = to_dict(TrainConfig(trainer=TrainerOptions(max_updates=1)))


def test_a_configuration_is_written_as_it_is_read():
    assert yaml.safe_load(to_yaml(PLAIN)) == PLAIN


@pytest.mark.parametrize("value", ["d\udce9/train", "${x}/train", "a${oc.env:HOME}"])
@pytest.mark.parametrize("key", ["data.valid", "run"])
def test_a_path_that_could_not_be_read_again_is_refused_by_its_key(key, value):
    plain = PLAIN | {"data": dict(PLAIN["data"])}
    (plain if key == "run" else plain["data"])[key.rpartition(".")[2]] = value
    with pytest.raises(ValueError, match=rf"{key}='.*': could not be read again from the run's config.yaml"):
        to_yaml(plain)
