import pytest
import torch

from nmt.attention.scores import AdditiveAttention
from nmt.layers.cells import CellKind
from nmt.model.initialization import Initialization, initialize


def test_the_published_recipe_has_orthogonal_recurrent_matrices_and_tiny_attention(make):
    model = make()
    initialize(model, Initialization.bahdanau)
    for block in model.decoder.cell.weight.split(8):
        torch.testing.assert_close(block @ block.t(), torch.eye(8, dtype=torch.float64))
    attention = model.decoder.attention
    assert isinstance(attention, AdditiveAttention)
    assert attention.query.weight.abs().max() < 0.006
    assert (attention.v == 0).all()


def test_luongs_recipe_is_uniform(make):
    model = make("luong", cell=CellKind.lstm)
    initialize(model, Initialization.luong)
    weights = torch.cat([parameter.flatten() for parameter in model.parameters()])
    assert weights.abs().max() <= 0.1
    assert weights.abs().max() > 0.099


@pytest.mark.parametrize("init", Initialization)
def test_padding_embeds_to_zero(make, init):
    model = make()
    initialize(model, init)
    assert (model.encoder.embedding.weight[0] == 0).all()
    assert (model.decoder.embedding.weight[0] == 0).all()


@pytest.mark.parametrize("init", [Initialization.bahdanau, Initialization.xavier])
def test_forget_gates_stay_open(make, init):
    model = make(cell=CellKind.lstm)
    initialize(model, init)
    assert (model.decoder.cell.project.bias[8:16] == 1).all()


@pytest.mark.parametrize("init", Initialization)
def test_the_seed_decides_every_weight(make, init):
    first, second = make(), make()
    for model in (first, second):
        torch.manual_seed(5)
        initialize(model, init)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_unknown_recipe_lists_the_legal_ones(make):
    with pytest.raises(ValueError, match="bahdanau, luong, xavier"):
        initialize(make(), "kaiming")  # type: ignore[arg-type]
