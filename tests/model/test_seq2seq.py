import pytest
import torch
from torch.nn import functional

from nmt.acceleration.fused import FusedLoops
from nmt.attention.scores import ScoreFunction
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.model.seq2seq import Seq2Seq, TiedEmbeddings
from tests.support.models import STACKS

CASES = [
    ("bahdanau", {}),
    ("bahdanau", {"cell": CellKind.lstm, "layers": 2}),
    ("bahdanau", {"cell": CellKind.gru_reset_after, "score": ScoreFunction.general}),
    ("luong", {"cell": CellKind.lstm, "layers": 2}),
    ("bahdanau", {"score": ScoreFunction.coverage}),
    ("luong", {"score": ScoreFunction.dot}),
    ("luong", {"score": ScoreFunction.coverage, "input_feeding": False}),
    ("luong", {"input_feeding": False}),
    ("fixed", {}),
    ("conditional_gru", {"layers": 2}),
    ("conditional_gru", {"cell": CellKind.lstm, "score": ScoreFunction.coverage}),
    ("transformer", {"layers": 2}),
    *STACKS,
]
EITHER = pytest.mark.parametrize("loops", [FusedLoops(), ReferenceLoops()], ids=["fused", "reference"])


def gradients(model, sentences):
    """The objective and the gradient of every weight, by name."""
    loss = model.loss(sentences.batch, 0.1).objective
    names, weights = zip(*model.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True))


@EITHER
@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_padding_changes_nothing(make, sentences, loops, decoder, options):
    """Neither more columns of it, nor in the loss, nor in any gradient."""
    model = make(decoder, **options).with_loops(loops)
    wider = sentences._replace(
        src=functional.pad(sentences.src, (0, 3)),
        tgt_in=functional.pad(sentences.tgt_in, (0, 2)),
        tgt_out=functional.pad(sentences.tgt_out, (0, 2)),
    )
    (loss, grads), (wide_loss, wide_grads) = gradients(model, sentences), gradients(model, wider)
    torch.testing.assert_close(loss, wide_loss, rtol=1e-12, atol=1e-12)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, wide_grads[name], rtol=1e-12, atol=1e-12, msg=name)


@EITHER
@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_what_stands_in_the_padding_changes_nothing_bit_for_bit(make, sentences, loops, decoder, options):
    model = make(decoder, **options).with_loops(loops)
    src_padding = torch.arange(7) >= sentences.src_lengths.unsqueeze(1)
    other = sentences._replace(
        src=sentences.src.masked_fill(src_padding, 9), tgt_in=sentences.tgt_in.masked_fill(sentences.tgt_out == 0, 9)
    )
    (loss, grads), (other_loss, other_grads) = gradients(model, sentences), gradients(model, other)
    assert torch.equal(loss, other_loss)
    for name, grad in grads.items():
        assert torch.equal(grad, other_grads[name]), name


@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_a_batch_is_as_many_batches_of_one(make, sentences, decoder, options):
    model = make(decoder, **options)
    logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    for row, length in enumerate(sentences.src_lengths):
        alone = model(sentences.src[[row], :length], length.unsqueeze(0), sentences.tgt_in[[row]])
        torch.testing.assert_close(logits[[row]], alone[0], rtol=1e-12, atol=1e-12)
        if model.has_attention:
            torch.testing.assert_close(weights[[row], :, :length], alone[1], rtol=1e-12, atol=1e-12)


@EITHER
@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_the_loss_is_the_cross_entropy_of_the_logits(make, sentences, loops, decoder, options):
    model = make(decoder, **options).with_loops(loops)
    logits, _ = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    expected = functional.cross_entropy(
        logits.flatten(0, 1), sentences.tgt_out.flatten(), ignore_index=0, reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(gradients(model, sentences)[0], expected)


def test_every_weight_has_a_gradient(make, sentences):
    for decoder, options in CASES:
        _, grads = gradients(make(decoder, **options), sentences)
        # A bias of the keys drops out of softmax only where it is the same for all keys' energies, which it never is.
        assert all(grad.abs().sum() > 0 for grad in grads.values()), decoder


@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_a_model_is_given_its_loops_and_has_the_reference_without(make, sentences, decoder, options):
    model = make(decoder, **options)
    inputs = (sentences.src, sentences.src_lengths, sentences.tgt_in)
    expected = model(*inputs)[0]
    plain = Seq2Seq(model.encoder, model.decoder)
    plain.output = model.output
    for part in (plain, plain.encoder, plain.decoder):
        assert type(part.loops) is ReferenceLoops
    torch.testing.assert_close(plain(*inputs)[0], expected, rtol=1e-10, atol=1e-10)


def test_only_the_fixed_vector_has_no_attention(make, sentences):
    assert make("bahdanau").has_attention
    assert make("luong").has_attention
    model = make("fixed")
    assert not model.has_attention
    assert model(sentences.src, sentences.src_lengths, sentences.tgt_in)[1].shape == (3, 6, 0)


def test_dropout_is_off_in_evaluation_and_differs_between_batches_in_training(make, sentences):
    for decoder, options in CASES:
        model = make(decoder, dropout=0.5, **options)
        inputs = (sentences.src, sentences.src_lengths, sentences.tgt_in)
        assert not torch.equal(model(*inputs)[0], model(*inputs)[0])
        model.eval()
        assert torch.equal(model(*inputs)[0], model(*inputs)[0])


def test_tied_matrices_are_one(make):
    model = make(tied_embeddings=TiedEmbeddings.all)
    assert model.output.weight is model.decoder.embedding.weight is model.encoder.embedding.weight
    assert make(tied_embeddings=TiedEmbeddings.target).encoder.embedding.weight is not model.output.weight


def test_tying_different_widths_says_what_to_set():
    from nmt.attention.scores import build_attention
    from nmt.model.decoder import Bridge, DecoderSizes, InitHidden, LuongDecoder
    from nmt.model.encoder import Encoder

    decoder = LuongDecoder(
        DecoderSizes(9, embedding=4, hidden=6, memory=6),
        attention=build_attention(ScoreFunction.general, 6, 6, 0),
        bridge=Bridge(InitHidden.zero, 3, 2, [6]),
    )
    encoder = Encoder(9, embedding=4, hidden=3)
    with pytest.raises(ValueError, match=r"model\.tied_embeddings=target .* set model\.tied_embeddings=none") as error:
        Seq2Seq(encoder, decoder, tied_embeddings=TiedEmbeddings.target)
    assert "\n" not in str(error.value)


def test_tying_two_vocabularies_says_what_to_set(make):
    from nmt.model.encoder import Encoder

    decoder = make().decoder
    with pytest.raises(ValueError, match=r"tokenizer\.joint=true .* or model\.tied_embeddings=target") as error:
        Seq2Seq(Encoder(5, embedding=8, hidden=4), decoder, tied_embeddings=TiedEmbeddings.all)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("decoder", "options"), CASES)
def test_bf16_products_leave_results_and_weights_sound(make, sentences, decoder, options):
    model = make(decoder, dtype=torch.float32, **options)
    exact, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    with torch.autocast("cpu", torch.bfloat16):
        logits, narrow_weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
    torch.testing.assert_close(logits.float(), exact, rtol=0.05, atol=0.1)
    if model.has_attention:
        assert narrow_weights.dtype is torch.float32
        torch.testing.assert_close(narrow_weights.sum(2), torch.ones(3, 6))
        assert torch.equal(narrow_weights == 0, weights == 0)
