"""A configuration as text: what could not be read again is refused when it is written."""

import pytest
import yaml

from nmt.config.plain import to_plain, to_yaml
from nmt.config.schema import TrainConfig, TrainerConfig

PLAIN = to_plain(TrainConfig(trainer=TrainerConfig(max_updates=1)))


def test_a_configuration_is_written_as_it_is_read():
    assert yaml.safe_load(to_yaml(PLAIN)) == PLAIN


@pytest.mark.parametrize("value", ["d\udce9/train", "${x}/train", "a${oc.env:HOME}"])
@pytest.mark.parametrize("key", ["data.valid", "run"])
def test_a_path_that_could_not_be_read_again_is_refused_by_its_key(key, value):
    plain = PLAIN | {"data": dict(PLAIN["data"])}
    (plain if key == "run" else plain["data"])[key.rpartition(".")[2]] = value
    with pytest.raises(ValueError, match=rf"{key}='.*': could not be read again from the run's config.yaml"):
        to_yaml(plain)
