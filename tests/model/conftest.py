"""Small models of every kind, in float64, and a ragged batch for them."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from nmt.model.attention import CoverageAttention, Score, build_attention
from nmt.model.cells import CellKind
from nmt.model.decoder import BahdanauDecoder, Bridge, FixedVectorDecoder, LuongDecoder, Start
from nmt.model.encoder import Encoder
from nmt.model.init import Init, initialise
from nmt.model.seq2seq import Seq2Seq, Tie

WORDS = 23
HIDDEN = 8


class Sentences(NamedTuple):
    src: Tensor
    src_lengths: Tensor
    tgt_in: Tensor
    tgt_out: Tensor


def make_model(
    decoder: str = "bahdanau",
    *,
    cell: CellKind = CellKind.gru,
    score: Score = Score.additive,
    layers: int = 1,
    start: Start = Start.backward_first,
    input_feeding: bool = True,
    bidirectional: bool = True,
    attention_size: int = 5,
    dropout: float = 0.0,
    tie: Tie = Tie.none,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
) -> Seq2Seq:
    torch.manual_seed(seed)
    directions = 2 if bidirectional else 1
    encoder = Encoder(
        WORDS,
        embedding=HIDDEN,
        hidden=HIDDEN // directions,
        layers=layers,
        cell=cell,
        bidirectional=bidirectional,
        dropout=dropout,
    )
    state_size = 2 * HIDDEN if cell is CellKind.lstm else HIDDEN
    bridge = Bridge(start, HIDDEN // directions, directions, [state_size] * layers)
    attention = build_attention(score, HIDDEN, HIDDEN, attention_size)
    if isinstance(attention, CoverageAttention):  # which starts as if there were none
        nn.init.uniform_(attention.cover, -2, 2)
    match decoder:
        case "bahdanau":
            built = BahdanauDecoder(
                WORDS,
                embedding=HIDDEN,
                hidden=HIDDEN,
                readout=HIDDEN,
                memory=HIDDEN,
                attention=attention,
                bridge=bridge,
                layers=layers,
                cell=cell,
                dropout=dropout,
            )
        case "luong":
            built = LuongDecoder(
                WORDS,
                embedding=HIDDEN,
                hidden=HIDDEN,
                memory=HIDDEN,
                attention=attention,
                bridge=bridge,
                layers=layers,
                cell=cell,
                input_feeding=input_feeding,
                dropout=dropout,
            )
        case "fixed":
            built = FixedVectorDecoder(
                WORDS,
                embedding=HIDDEN,
                hidden=HIDDEN,
                readout=HIDDEN,
                memory=HIDDEN,
                bridge=bridge,
                layers=layers,
                cell=cell,
                dropout=dropout,
            )
        case _:
            raise AssertionError(decoder)
    model = Seq2Seq(encoder, built, tie=tie)
    initialise(model, Init.xavier)
    for parameter in model.parameters():  # biases too, lest a forgotten one go unnoticed
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model.to(dtype)


def make_sentences(src_lengths=(7, 5, 2), tgt_lengths=(4, 6, 3), seed: int = 2) -> Sentences:
    generator = torch.Generator().manual_seed(seed)

    def rows(lengths):
        ids = torch.randint(4, WORDS, (len(lengths), max(lengths)), generator=generator)
        return ids.masked_fill(torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1), 0)

    return Sentences(rows(src_lengths), torch.tensor(src_lengths), rows(tgt_lengths), rows(tgt_lengths))


@pytest.fixture
def make():
    """make(decoder="bahdanau", ...) -> a Seq2Seq of a few units, in float64."""
    return make_model


@pytest.fixture
def sentences() -> Sentences:
    """Three pairs of different lengths."""
    return make_sentences()


@pytest.fixture
def make_batch():
    """make_batch(src_lengths, tgt_lengths) -> Sentences."""
    return make_sentences
