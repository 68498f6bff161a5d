"""Candidates: the reference and translations drawn from the current model, each with its cost."""

import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.analysis.metrics import SentenceMetric
from nmt.data.batches import Batch
from nmt.data.symbols import BOS, PAD
from nmt.data.tokenizer import Subwords
from nmt.decoding.batching import pad
from nmt.decoding.options import SearchOptions
from nmt.decoding.sampling import sample
from nmt.minimum_risk.options import MinimumRiskOptions

# Pieces of the candidates of a batch, padding included, which are decoded together: enough to use the machine fully. A
# sentence that has more is a batch of its own.
CPU_PIECES, GPU_PIECES = 8192, 65536


class Candidates(NamedTuple):
    """N candidates of the B sentences of a batch. The candidates of a sentence are adjacent, the reference first.

    sentences (N,): rows of the batch; places (N,): the index of the candidate in its sentence, from 0; tgt_in (N, T):
    BOS y1 ...; tgt_out (N, T): y1 ..., ending in EOS unless truncated; costs (N,): 0 to 1, float64.
    """

    sentences: Tensor
    places: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    costs: Tensor


class CandidateSampler:
    """Draws candidates and computes their costs.

    subwords: of the target; metric: the sentence metric that minimum_risk.cost names. The samples of a sentence depend
    only on the weights, `seed`, the epoch and the sentence, so a resumed run and any rank draw the same.
    """

    def __init__(self, options: MinimumRiskOptions, subwords: Subwords, metric: SentenceMetric, seed: int):
        self.options, self.subwords, self.metric, self.seed = options, subwords, metric, seed

    def split(self, rows: np.ndarray, longest: int, device: torch.device) -> list[np.ndarray]:
        """Splits the rows of a batch into parts whose candidates are decoded together. longest: pieces of a target."""
        most = CPU_PIECES if device.type == "cpu" else GPU_PIECES
        pieces = len(rows) * (self.options.samples + 1) * longest
        return np.array_split(rows, min(len(rows), max(1, -(-pieces // most))))

    def draw(self, model, batch: Batch, epoch: int) -> Candidates:
        """The distinct candidates of each sentence: the reference and samples.  # Shen et al. (2016), algorithm 1

        The samples are drawn without dropout. The mode of the model and torch's random state are not changed.
        """
        seed = zlib.crc32(np.array([self.seed, epoch], dtype=np.int64).tobytes())
        options = SearchOptions(sampling=True, nbest=self.options.samples, sampling_seed=seed)
        training = model.training
        model.eval()
        try:
            drawn = sample(model, batch.src, batch.src_lengths, options, attention=False)
        finally:
            model.train(training)
        references = [
            tuple(ids[:length]) for ids, length in zip(batch.tgt_out.tolist(), batch.tgt_lengths.tolist(), strict=True)
        ]
        distinct = [
            list(dict.fromkeys([reference, *(tuple(each.ids) for each in samples)]))
            for reference, samples in zip(references, drawn, strict=True)
        ]
        return self._candidates(distinct, batch.src.device)

    def _candidates(self, distinct: list[list[tuple[int, ...]]], device: torch.device) -> Candidates:
        """distinct: the candidates of each sentence as ids, the reference first."""
        each = [list(ids) for candidates in distinct for ids in candidates]
        tgt_out, lengths = pad(each)
        tgt_in = tgt_out.roll(1, 1)
        tgt_in[:, 0] = BOS
        tgt_in[torch.arange(tgt_in.shape[1]) >= lengths.unsqueeze(1)] = PAD
        sizes = torch.tensor([len(candidates) for candidates in distinct])
        sentences = torch.arange(len(distinct)).repeat_interleave(sizes)
        places = torch.arange(len(each)) - (sizes.cumsum(0) - sizes)[sentences]
        costs = torch.tensor([cost for candidates in distinct for cost in self._costs(candidates)], dtype=torch.float64)
        return Candidates(*(part.to(device) for part in (sentences, places, tgt_in, tgt_out, costs)))

    def _costs(self, candidates: list[tuple[int, ...]]) -> list[float]:
        """1 - metric of each candidate of a sentence, against the first, the reference.

        The text of the reference costs 0, even if it is empty, for which metrics are 0.
        """
        texts = [self.subwords.decode(ids) for ids in candidates]
        found = {text: 1 - min(1.0, self.metric(text, texts[0]) / 100) for text in dict.fromkeys(texts)}
        found[texts[0]] = 0.0
        return [found[text] for text in texts]
