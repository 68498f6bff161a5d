"""Which target word the weights of a step belong to: found out by training each decoder to turn sentences round."""

import pytest
import torch

from nmt.analysis.alignment import alignment_error_rate, links
from nmt.attention.scores import ScoreFunction
from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS
from nmt.model.decoder import InitHidden
from nmt.model.initialization import Initialization, initialize
from nmt.model.seq2seq import Seq2Seq
from tests.support.models import SmallModel

WORDS, LENGTH, WIDTH = 14, 6, 32


def model(decoder: str, score: ScoreFunction, input_feeding: bool) -> Seq2Seq:
    sizes = SmallModel(
        decoder,
        score=score,
        init_hidden=InitHidden.backward_first if decoder == "bahdanau" else InitHidden.last,
        input_feeding=input_feeding,
        vocab_size=WORDS,
        embedding=16,
        hidden=WIDTH,
        memory=WIDTH,
        readout=WIDTH,
        attention_size=WIDTH,
    )
    made = sizes.build()
    initialize(made, Initialization.xavier)
    return made


def turned_round(count: int, draw: torch.Generator):
    """Sentences of different words, and the same from behind."""
    words = torch.stack([torch.randperm(WORDS - 4, generator=draw)[:LENGTH] for _ in range(count)]) + 4
    end, begin = torch.full((count, 1), EOS), torch.full((count, 1), BOS)
    tgt = words.flip(1)
    lengths = torch.full((count,), LENGTH + 1)
    return torch.cat([words, end], 1), lengths, torch.cat([begin, tgt], 1), torch.cat([tgt, end], 1)


def error(weights: torch.Tensor) -> float:
    """Alignment error rate of weights (B, LENGTH, LENGTH + 1), the last column for the end of sentence."""
    found = [links(rows[:, :-1].numpy()) for rows in weights]
    gold = [{(LENGTH - 1 - word, word) for word in range(LENGTH)}] * len(found)
    return alignment_error_rate(found, gold, gold).aer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "score", "input_feeding"),
    [
        ("bahdanau", ScoreFunction.additive, False),
        ("luong", ScoreFunction.general, True),
        ("luong", ScoreFunction.dot, False),
    ],
)
def test_weights_belong_to_the_word_that_their_step_predicts(decoder, score, input_feeding):
    trained, draw = model(decoder, score, input_feeding), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-2)
    for _ in range(140):
        loss = trained.loss(Batch.of(*turned_round(32, draw)))
        optimizer.zero_grad()
        (loss.objective / loss.tokens).backward()
        optimizer.step()
    src, lengths, tgt_in, _ = turned_round(40, draw)
    with torch.no_grad():
        weights = trained.features(src, lengths, tgt_in).weights
    assert error(weights[:, :LENGTH]) < 0.1
    assert error(weights[:, 1:]) > 0.6  # read a step later
    assert error(weights[:, :LENGTH].roll(1, dims=1)) > 0.6  # a step earlier
