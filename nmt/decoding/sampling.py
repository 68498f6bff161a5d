"""Sampling of translations from the model's distribution, with independent random numbers for each translation."""

import numpy as np
import torch
from torch import Tensor

from nmt.decoding.candidates import Candidates, log_softmax, only_finite
from nmt.decoding.constraints import FORBIDDEN_IDS
from nmt.decoding.hypotheses import Hypothesis
from nmt.decoding.options import SearchOptions
from nmt.decoding.search import Searchable, search_one_by_one, start_batch

BLOCK = 256  # random numbers drawn at once for a translation, as the maximum length may be a million


@torch.inference_mode()
def sample(
    model: Searchable,
    src: Tensor,
    src_lengths: Tensor,
    options: SearchOptions,
    *,
    attention: bool = True,
    prefixes: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Draws `options.nbest` translations of each sentence, for src (B, S); they are in the order of drawing.

    A translation depends only on the sentence, the seed and its number, not on the rest of the batch or on how many
    are drawn. Equal sentences have equal translations. Scores and log-probabilities are computed as by beam_search,
    without temperature, top_k and top_p. Raises ValueError if the model's output is not a distribution (NaN).
    """
    source, state = model.encode(src, src_lengths)
    rows = torch.arange(len(src), device=src.device).repeat_interleave(options.nbest)
    prefixes = None if prefixes is None else prefixes[rows]
    batch = start_batch(source.select(rows), src_lengths[rows], options, prefixes)
    generators = [
        np.random.default_rng([options.sampling_seed, number, *ids[:length]])
        for ids, length in zip(src.tolist(), src_lengths.tolist(), strict=True)
        for number in range(options.nbest)
    ]
    numbers = np.empty((len(generators), BLOCK))  # for the current block of steps

    def draw(logits: Tensor, allowed: Tensor, log_probs: np.ndarray, sentences: np.ndarray, length: int) -> Candidates:
        step = (length - 1) % BLOCK
        if step == 0:
            for row in sentences:
                numbers[row] = generators[row].random(BLOCK)
        uniform = torch.from_numpy(numbers[sentences, step]).to(logits.device)
        tokens = draw_tokens(allowed, uniform, options).unsqueeze(1)
        gained = log_softmax(logits).gather(1, tokens).cpu().numpy()
        return Candidates(only_finite(log_probs + gained), np.zeros(gained.shape, np.int64), tokens.cpu().numpy())

    found = search_one_by_one(model, batch, state.select(rows), options, draw, attention=attention)
    return [found[first : first + options.nbest] for first in range(0, len(found), options.nbest)]


def draw_tokens(logits: Tensor, uniform: Tensor, options: SearchOptions) -> Tensor:
    """Draws a token from each row of logits (N, V) with one random number each, `uniform` (N,) in [0, 1) -> (N,).

    Takes the first token whose cumulative probability exceeds the number. Logits are first divided by the temperature,
    then restricted to the top_k, then to the top_p.
    """
    logits = logits.double().index_fill(1, torch.tensor(FORBIDDEN_IDS, device=logits.device), -torch.inf)
    logits = (logits - logits.amax(1, keepdim=True)) / options.temperature  # at most 0, so the quotient cannot overflow
    if options.top_k is not None and options.top_k < logits.shape[1]:
        least = logits.topk(options.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probabilities = logits.softmax(1)
    if options.top_p is not None:
        ordered, order = probabilities.sort(dim=1, descending=True, stable=True)
        beyond = ordered.cumsum(1) - ordered >= options.top_p
        probabilities = probabilities.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), 0)
    summed = probabilities.cumsum(1)
    total = summed[:, -1:]
    least_above = torch.searchsorted(summed, (uniform.unsqueeze(1) * total).minimum(total * (1 - 2**-53)), right=True)
    return least_above.squeeze(1).clamp(max=logits.shape[1] - 1)
