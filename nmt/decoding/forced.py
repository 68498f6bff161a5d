"""Forced decoding: the model is led through a given translation, which shows where it looks and how likely it finds it."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch

from nmt.data.corpus import Pair
from nmt.data.symbols import BOS, EOS, NAMES, PAD
from nmt.decoding.translator import Translation


@torch.inference_mode()
def force(model, tokenizer, pairs: Iterable[Pair], *, batch_size: int = 64) -> Iterator[Translation]:
    """The given pairs as if they had been translated so, in order, `batch_size` at a time.

    weights row t is where the model looked when it was to predict piece t; log_prob sums over the target's pieces.
    """
    pairs = iter(pairs)
    while batch := list(islice(pairs, batch_size)):
        src = [tokenizer.src.encode_words(pair.src) for pair in batch]
        tgt = [tokenizer.tgt.encode_words(pair.tgt) for pair in batch]
        src_ids, src_lengths = _pad([[*ids, EOS] for ids, _ in src])
        tgt_in, _ = _pad([[BOS, *ids] for ids, _ in tgt])
        tgt_out, tgt_lengths = _pad([[*ids, EOS] for ids, _ in tgt])
        device = model.device
        logits, weights = model(src_ids.to(device), src_lengths.to(device), tgt_in.to(device))
        log_probs = logits.float().log_softmax(-1).gather(2, tgt_out.to(device).unsqueeze(2)).squeeze(2).cpu()
        weights = weights.float().cpu().numpy()
        for row, pair in enumerate(batch):
            steps, width = int(tgt_lengths[row]), int(src_lengths[row])
            total = float(log_probs[row, :steps].sum())
            yield Translation(
                text=pair.tgt,
                score=total / steps,
                log_prob=total,
                src_words=pair.src.split(),
                tgt_words=pair.tgt.split(),
                src_pieces=[*tokenizer.src.pieces(src[row][0]), NAMES[EOS]],
                tgt_pieces=[*tokenizer.tgt.pieces(tgt[row][0]), NAMES[EOS]],
                weights=np.ascontiguousarray(weights[row, :steps, :width]),
                src_word_of=[*src[row][1], -1],
                tgt_word_of=[*tgt[row][1], -1],
            )


def _pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.full((len(rows), int(lengths.max())), PAD)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = torch.tensor(ids)
    return padded, lengths
