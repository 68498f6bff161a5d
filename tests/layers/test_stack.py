import pytest
import torch

from nmt.layers.cells import Cell, CellKind, NoInput
from nmt.layers.loops import ReferenceLoops
from nmt.layers.regularizers import set_dropout
from nmt.layers.stack import StackOptions, build_layer, stack_output, step_upper_cells
from nmt.model.encoder import Encoder


class Doubling(Cell):
    """For sums by hand: s' = x + 2 s."""

    gates = 1

    def forward(self, projected, state):
        return projected + 2 * state


def doubling(input_size: int) -> Doubling:
    cell = Doubling(input_size, 2)
    with torch.no_grad():
        cell.project.bias.zero_()
        if isinstance(cell.project, torch.nn.Linear):
            cell.project.weight.copy_(torch.eye(2).repeat(1, input_size // 2))
    return cell


def row(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float32)


def test_only_the_first_transition_of_a_step_reads_the_input():
    cell, further = doubling(2), doubling(0)
    with torch.no_grad():
        further.project.bias.copy_(torch.tensor([10.0, 20.0]))
    cell.transitions.append(further)
    # (1, 2) + 2 (3, 4) = (7, 10), then its bias and twice that.
    torch.testing.assert_close(cell.step(cell.project(row(1, 2)), row(3, 4)), row(24, 40))
    states = ReferenceLoops().run_cell(cell, cell.project(row(1, 2)).unsqueeze(0), row(3, 4))
    torch.testing.assert_close(states[1], row(24, 40))


@pytest.mark.parametrize("kind", CellKind)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_step_goes_through_as_many_transitions_as_its_depth(kind, layer_norm):
    cell = build_layer(StackOptions(layer_norm=layer_norm, transition_depth=3), kind, 3, 4)
    inputs, state = torch.randn(5, 3), torch.randn(5, cell.state_size)
    second, third = cell.transitions
    assert isinstance(second, Cell)
    assert isinstance(third, Cell)
    assert isinstance(second.project, NoInput)
    expected = cell(cell.project(inputs), state)
    for transition in (second, third):
        expected = transition(transition.project.bias.expand(5, -1), expected)
    torch.testing.assert_close(cell.step(cell.project(inputs), state), expected)


def test_no_options_are_the_plain_cell():
    cell = build_layer(StackOptions(), CellKind.gru, 3, 4)
    assert list(cell.state_dict()) == ["weight", "project.weight", "project.bias"]


@pytest.mark.parametrize("kind", CellKind)
def test_gradcheck_of_a_deep_transition(kind):
    torch.manual_seed(0)
    cell = build_layer(StackOptions(transition_depth=3), kind, 2, 3).double()
    inputs = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, cell.state_size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda inputs, start, *_: ReferenceLoops().run_cell(cell, cell.project(inputs), start),
        (inputs, start, *cell.parameters()),
        fast_mode=True,
    )


def test_recurrent_dropout_has_a_mask_for_each_transition():
    torch.manual_seed(0)
    cell = build_layer(StackOptions(transition_depth=2), CellKind.gru, 3, 50).train()
    set_dropout(cell, word=0.0, recurrent=0.5)
    drawn = cell.drawn()
    masks = [each.weight.ne(0).any(0) for each in drawn.modules() if isinstance(each, Cell)]
    assert len(masks) == 2
    assert 10 < masks[0].sum() < 40
    assert not torch.equal(*masks)
    assert cell.weight.ne(0).all()
    assert list(drawn.transitions) != list(cell.transitions)


def test_residual_connections_add_what_a_layer_reads():
    cells = [doubling(2), doubling(2), doubling(2)]
    states = [row(0, 0), row(1, 1), row(2, 2)]
    # Layer 2: (3, 4) + 2 (1, 1) = (5, 6). Layer 3 reads (3, 4) + (5, 6): (8, 10) + 2 (2, 2).
    found = step_upper_cells(cells, lambda x: x, row(3, 4), states, residual=True)
    torch.testing.assert_close(torch.cat(found), torch.tensor([[3.0, 4.0], [5.0, 6.0], [12.0, 14.0]]))
    torch.testing.assert_close(stack_output(cells, found, residual=True), row(20, 24))
    torch.testing.assert_close(stack_output(cells, found, residual=False), row(12, 14))


def test_upper_layers_read_the_context_beside_the_layer_below():
    cells = [doubling(2), doubling(4)]
    found = step_upper_cells(cells, lambda x: x, row(3, 4), [row(0, 0), row(1, 1)], context=row(100, 200))
    torch.testing.assert_close(found[1], row(105, 206))


@pytest.mark.parametrize("residual", [False, True])
def test_a_residual_encoder_adds_the_memory_of_each_layer_to_the_next(sentences, residual):
    torch.manual_seed(0)
    encoder = Encoder(23, embedding=3, hidden=4, layers=2, stack=StackOptions(residual=residual)).double()
    first = Encoder(23, embedding=3, hidden=4, layers=1).double()
    first.load_state_dict(encoder.state_dict(), strict=False)
    below = first(sentences.src, sentences.src_lengths)
    second = encoder.loops.run_directions(encoder.cells[1], below.memory, sentences.src_lengths, below.mask)
    expected = torch.cat(second, 2) + (below.memory if residual else 0)
    found = encoder(sentences.src, sentences.src_lengths)
    torch.testing.assert_close(found.memory, expected)
    torch.testing.assert_close(found.backward_first, expected[:, 0, 4:])
    assert (found.memory[~found.mask] == 0).all()
