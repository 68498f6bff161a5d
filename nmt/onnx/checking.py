"""Compares the outputs of exported graphs with those of the model."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmt.data.symbols import BOS, EOS, PAD
from nmt.layers.loops import ReferenceLoops
from nmt.model.seq2seq import Seq2Seq
from nmt.onnx.description import DECODER, ENCODER
from nmt.onnx.graphs import NEXT
from nmt.onnx.layout import layouts

TOLERANCE = 1e-3  # absolute; float32 sums in another order differ by about 1e-6
_LENGTHS, _STEPS = (9, 4, 1), 8


@torch.no_grad()
def largest_difference(folder: Path, model: Seq2Seq) -> float:
    """The largest absolute difference between the outputs of the graphs in `folder` and those of `model`.

    Compares source, states, log-probabilities and weights, for 3 random sentences of different lengths over 8 greedy
    steps.
    """
    import onnxruntime

    reference = model.with_loops(ReferenceLoops())
    source_layout, state_layout = layouts(reference)
    encoder, decoder = (onnxruntime.InferenceSession(folder / name) for name in (ENCODER, DECODER))
    src, src_lengths = _sentences(model.encoder.embedding.num_embeddings)
    source, state = reference.encode(src, src_lengths)
    found = _run(encoder, {"src": src.numpy(), "src_lengths": src_lengths.numpy()})
    worst = _furthest(found, [*source_layout.hold(source), *state_layout.hold(state)])
    tokens, inputs = torch.full((len(src),), BOS), found
    for _ in range(_STEPS):
        logits, state, weights = reference.step(tokens, state, source)
        log_probs = logits.log_softmax(-1)
        found = _run(decoder, {**inputs, "tokens": tokens.numpy()})
        shown = [weights] if model.has_attention else []
        worst = max(worst, _furthest(found, [log_probs, *shown, *state_layout.hold(state)]))
        inputs |= {name.removeprefix(NEXT): array for name, array in found.items() if name.startswith(NEXT)}
        tokens = log_probs.argmax(1)
    return worst


def _sentences(vocab_size: int) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor(_LENGTHS)
    shape = (len(_LENGTHS), max(_LENGTHS))
    src = torch.randint(EOS, vocab_size, shape, generator=torch.Generator().manual_seed(1))
    return src.masked_fill(torch.arange(shape[1]) >= lengths.unsqueeze(1), PAD), lengths


def _run(session, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _furthest(found: dict[str, np.ndarray], wanted: list[Tensor]) -> float:
    """The largest absolute difference; infinite if shapes differ or a difference is NaN."""
    worst = 0.0
    for ours, theirs in zip(found.values(), (each.numpy() for each in wanted), strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        apart = np.abs(np.subtract(ours, theirs, dtype=np.float64))[ours != theirs]  # equal infinities would give NaN
        worst = max(worst, np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
    return float(worst)
