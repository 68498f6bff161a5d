import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nmt.acceleration.fused import FusedLoops
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops, reversed_positions
from nmt.model.encoder import Encoder


def torch_twin(encoder: Encoder, layers: int) -> torch.nn.GRU:
    """torch's own bidirectional GRU with the same weights."""
    width = encoder.embedding.embedding_dim
    twin = torch.nn.GRU(width, encoder.hidden, layers, batch_first=True, bidirectional=True).double()
    size = encoder.hidden
    with torch.no_grad():
        for layer, cells in enumerate(encoder.cells):
            for cell, suffix in zip(cells, ("", "_reverse"), strict=True):
                assert isinstance(cell.project, torch.nn.Linear)
                theirs = {
                    name: getattr(twin, f"{name}_l{layer}{suffix}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                }
                theirs["bias_hh"].zero_()
                theirs["bias_hh"][2 * size :] = cell.candidate_bias
                for ours, torchs, sign in ((0, 1, -1), (1, 0, 1), (2, 2, 1)):
                    mine, other = slice(ours * size, (ours + 1) * size), slice(torchs * size, (torchs + 1) * size)
                    theirs["weight_ih"][other] = sign * cell.project.weight[mine]
                    theirs["weight_hh"][other] = sign * cell.weight[mine]
                    theirs["bias_ih"][other] = sign * cell.project.bias[mine]
    return twin


@pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_encoder_is_torchs_packed_bidirectional_gru(sentences, layers, loops):
    torch.manual_seed(0)
    encoder = Encoder(23, embedding=3, hidden=4, layers=layers, cell=CellKind.gru_reset_after).double()
    encoder.loops = loops
    encoded = encoder(sentences.src, sentences.src_lengths)
    packed = pack_padded_sequence(
        encoder.embedding(sentences.src), sentences.src_lengths, batch_first=True, enforce_sorted=False
    )
    outputs, last = torch_twin(encoder, layers)(packed)
    torch.testing.assert_close(encoded.memory, pad_packed_sequence(outputs, batch_first=True)[0])
    torch.testing.assert_close(encoded.forward_last, last[-2])
    torch.testing.assert_close(encoded.backward_first, last[-1])


def test_memory_is_zero_on_padding(make, sentences):
    encoded = make().encoder(sentences.src, sentences.src_lengths)
    assert (encoded.memory[~encoded.mask] == 0).all()
    assert (encoded.memory[encoded.mask].abs().sum(1) > 0).all()


def test_reversing_twice_gives_the_sentence_back():
    lengths = torch.tensor([5, 3, 1])
    positions = reversed_positions(lengths, 5)
    ids = torch.arange(15).view(3, 5)
    assert ids.gather(1, positions)[1].tolist() == [7, 6, 5, 8, 9]
    assert torch.equal(ids.gather(1, positions).gather(1, positions), ids)


def test_one_direction_has_no_backward_state(make, sentences):
    from nmt.model.decoder import InitHidden

    encoded = make(bidirectional=False, init_hidden=InitHidden.last).encoder(sentences.src, sentences.src_lengths)
    assert encoded.backward_first.shape == (3, 0)
    assert encoded.memory.shape[2] == 8
