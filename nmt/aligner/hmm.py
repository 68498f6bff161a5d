"""The hidden Markov model of alignments: exact likelihood, its gradient, posteriors and the best alignment.

Each target piece t is emitted by the source piece a_t, or by the null position, which keeps a_t = a_{t-1}:

    p(y, a) = prod_t p(a_t | a_{t-1}) p(y_t | a_t)

# Vogel, Ney and Tillmann (1996); null as in Och and Ney (2003), section 2.3, except that it keeps the last position

B pairs, T target pieces, S source pieces, D jumps. Positions are 0 to S - 1 and, before the first link, -1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

CLASSES = 2  # of target pieces, with separate jump probabilities: those that begin a word, and those that continue one
_TINY = 1e-30


class Lattice(NamedTuple):
    """The factors of the probability of an alignment, as natural logarithms. Values on padding must be finite.

    emissions (B, T, S): of a link of t to j and of y_t, without the jump. null (B, T): of no link and of y_t. jumps
    (B, CLASSES, S + 1, D): of a jump from position i - 1 by d - D // 2; the first and the last d are for each source
    position at this distance or further; see `normalized_jumps`. continues (B, T): the class of each target piece, 0 or
    1. src_lengths, tgt_lengths (B,): in pieces, without EOS. shared (B,): of a factor that all alignments share; None:
    there is none.
    """

    emissions: Tensor
    null: Tensor
    jumps: Tensor
    continues: Tensor
    src_lengths: Tensor
    tgt_lengths: Tensor
    shared: Tensor | None = None


def jump_of(positions: int, jumps: int, device: torch.device | None = None) -> Tensor:
    """(S + 1, S) the index, from 0 to jumps - 1, of the jump from position i - 1 to position j."""
    here = torch.arange(positions, device=device)
    before = torch.arange(-1, positions, device=device).unsqueeze(1)
    longest = jumps // 2
    return (here - before).clamp(-longest, longest) + longest


def normalized_jumps(energies: Tensor, src_lengths: Tensor) -> Tensor:
    """energies (..., B, C, S + 1, D) -> log-probabilities whose exponentials sum to one over the source positions.

    A jump that leads to n positions counts n times in the sum: p(d) = exp(e_d) / sum_d' n_d' exp(e_d').
    """
    positions, jumps = energies.shape[-2] - 1, energies.shape[-1]
    longest = jumps // 2
    length = src_lengths.clamp_min(1).view(-1, 1, 1, 1)
    target = torch.arange(-1, positions, device=energies.device).unsqueeze(1) + torch.arange(
        -longest, longest + 1, device=energies.device
    )
    count = ((target >= 0) & (target < length)).to(energies.dtype)
    count[..., 0] = (target[:, 0] + 1).clamp_min(0).minimum(length.squeeze(-1))
    count[..., -1] = (length.squeeze(-1) - target[:, -1].clamp_min(0)).clamp_min(0)
    return energies - (energies + count.log()).logsumexp(-1, keepdim=True)


class _Factors(NamedTuple):
    """A lattice as probabilities, time first. Steps after the end of a target have no effect.

    links (T, B, S), null (T, B, 1): emissions over exp(top); top (T, B); transitions (B, C (S + 1), S); of_class
    (T, B, C, 1): 1 for the class of y_t, else 0.
    """

    links: Tensor
    null: Tensor
    top: Tensor
    transitions: Tensor
    of_class: Tensor


class _Passed(NamedTuple):
    """The results of the forward pass.

    before (T, B, C, S + 1): the probability of each position before step t, in the row of the class of y_t. reached
    (T, B, S): the probability of a jump to each position at step t. scale (T, B, 1). log_probs (B,).
    """

    before: Tensor
    reached: Tensor
    scale: Tensor
    log_probs: Tensor


def _factors(lattice: Lattice) -> _Factors:
    emissions, null = lattice.emissions, lattice.null
    batch, steps, positions = emissions.shape
    device = emissions.device
    in_src = torch.arange(positions, device=device) < lattice.src_lengths.unsqueeze(1)
    in_tgt = torch.arange(steps, device=device) < lattice.tgt_lengths.unsqueeze(1)
    real = (in_tgt.unsqueeze(2) & in_src.unsqueeze(1)).transpose(0, 1)
    energies = emissions.transpose(0, 1).masked_fill(~real, -torch.inf)
    top = torch.maximum(energies.amax(2), null.t()) if positions else null.t()
    links = (energies - top.unsqueeze(2)).exp_()
    no_link = torch.where(in_tgt.t(), (null.t() - top).exp(), 1.0).unsqueeze(2)
    index = jump_of(positions, lattice.jumps.shape[-1], device)
    transitions = lattice.jumps.exp().gather(3, index.expand(batch, CLASSES, -1, -1))
    classes = torch.arange(CLASSES, device=device).view(CLASSES, 1)
    of_class = (lattice.continues.t().unsqueeze(2).unsqueeze(3) == classes).to(emissions.dtype)
    return _Factors(links, no_link, top.masked_fill(~in_tgt.t(), 0.0), transitions.flatten(1, 2).contiguous(), of_class)


def _pass_forward(factors: _Factors) -> _Passed:
    """alpha_t(j) = links_t(j) sum_i alpha_{t-1}(i) p(j | i) + null_t alpha_{t-1}(j), scaled to sum to one."""
    steps, batch, positions = factors.links.shape
    new = factors.links.new_empty
    before, reached = new(steps, batch, CLASSES, positions + 1), new(steps, batch, positions)
    scale = new(steps, batch, 1)
    alpha = factors.links.new_zeros(batch, positions + 1)
    alpha[:, 0] = 1.0
    rows = before.flatten(2).unsqueeze(2)
    targets = reached.unsqueeze(2)
    for t in range(steps):
        torch.mul(alpha.unsqueeze(1), factors.of_class[t], out=before[t])
        torch.bmm(rows[t], factors.transitions, out=targets[t])
        alpha = factors.null[t] * alpha
        alpha[:, 1:].addcmul_(reached[t], factors.links[t])
        torch.sum(alpha, 1, keepdim=True, out=scale[t])
        scale[t].clamp_min_(_TINY)
        alpha.div_(scale[t])
    log_probs = (factors.top + scale.squeeze(2).log()).sum(0)
    return _Passed(before, reached, scale, log_probs)


def _pass_backward(factors: _Factors, passed: _Passed) -> Tensor:
    """-> (T, B, S): links_t(j) beta_t(j) / scale_t, where beta_t(j) is the scaled probability of all later steps."""
    steps, batch, positions = factors.links.shape
    links, null = factors.links / passed.scale, factors.null / passed.scale
    beta = factors.links.new_ones(batch, positions + 1)
    transitions = factors.transitions.transpose(1, 2).contiguous()
    values = torch.empty_like(links)
    rows = values.unsqueeze(2)
    for t in range(steps - 1, -1, -1):
        torch.mul(links[t], beta[:, 1:], out=values[t])
        back = torch.bmm(rows[t], transitions).view(batch, CLASSES, positions + 1)
        beta = torch.addcmul((back * factors.of_class[t]).sum(1), null[t], beta)
    return values


class _LogLikelihood(torch.autograd.Function):
    """log p(y), whose gradient is the posterior of links (for emissions) and the expected count (for jumps)."""

    @staticmethod
    def forward(ctx, emissions, null, jumps, continues, src_lengths, tgt_lengths):
        factors = _factors(Lattice(emissions, null, jumps, continues, src_lengths, tgt_lengths))
        passed = _pass_forward(factors)
        ctx.save_for_backward(*factors, passed.before, passed.reached, passed.scale, tgt_lengths)
        ctx.jumps = jumps.shape[-1]
        return passed.log_probs

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        *saved, before, reached, scale, tgt_lengths = ctx.saved_tensors
        factors = _Factors(*saved)
        steps, batch, positions = factors.links.shape
        values = _pass_backward(factors, _Passed(before, reached, scale, scale))
        links = (reached * values).transpose(0, 1)
        in_tgt = torch.arange(steps, device=grad.device) < tgt_lengths.unsqueeze(1)
        null = torch.where(in_tgt, 1.0 - links.sum(2), 0.0)
        expected = torch.bmm(before.flatten(2).permute(1, 2, 0), values.transpose(0, 1))
        expected = expected.mul_(factors.transitions).mul_(grad.view(-1, 1, 1)).unflatten(1, (CLASSES, -1))
        index = jump_of(positions, ctx.jumps, grad.device).expand(batch, CLASSES, -1, -1)
        jumps = expected.new_zeros(batch, CLASSES, positions + 1, ctx.jumps).scatter_add_(3, index, expected)
        return links * grad.view(-1, 1, 1), null * grad.unsqueeze(1), jumps, None, None, None


def log_likelihood(lattice: Lattice) -> Tensor:
    """log p(y) of each pair, (B,): exact, over all alignments; differentiable in emissions, null and jumps."""
    with torch.autocast(lattice.emissions.device.type, enabled=False):
        found: Tensor = _LogLikelihood.apply(*lattice[:-1])  # pyright: ignore[reportAssignmentType]
        return found if lattice.shared is None else found + lattice.shared


class Posterior(NamedTuple):
    """links (B, T, S): the probability of each link given both sides; log_probs (B,): log p(y)."""

    links: Tensor
    log_probs: Tensor


@torch.no_grad()
def posterior(lattice: Lattice) -> Posterior:
    """The Posterior, by the forward-backward algorithm. One minus the sum of a row of links is the probability of
    null.
    """
    with torch.autocast(lattice.emissions.device.type, enabled=False):
        factors = _factors(lattice)
        passed = _pass_forward(factors)
        values = _pass_backward(factors, passed)
        log_probs = passed.log_probs if lattice.shared is None else passed.log_probs + lattice.shared
        return Posterior((passed.reached * values).transpose(0, 1), log_probs)


@torch.no_grad()
def viterbi(lattice: Lattice) -> Tensor:
    """(B, T) the source position of each target piece in the most probable alignment; -1 for null and for padding."""
    with torch.autocast(lattice.emissions.device.type, enabled=False):
        factors = _factors(lattice)
        steps, batch, positions = factors.links.shape
        transitions = factors.transitions.view(batch, CLASSES, positions + 1, positions)
        best = factors.links.new_zeros(batch, positions + 1)
        best[:, 0] = 1.0
        came_from = torch.empty(steps, batch, positions + 1, dtype=torch.int64, device=best.device)
        here = torch.arange(positions + 1, device=best.device).expand(batch, -1)
        rows = torch.arange(batch, device=best.device)
        linked = torch.zeros(steps, batch, positions + 1, dtype=torch.bool, device=best.device)
        for t in range(steps):
            jump = transitions[rows, lattice.continues[:, t].long()]
            value, origin = (best.unsqueeze(2) * jump).max(1)
            value = value * factors.links[t]
            still = factors.null[t] * best
            linked[t, :, 1:] = value > still[:, 1:]
            came_from[t, :, 1:] = torch.where(linked[t, :, 1:], origin, here[:, 1:])
            came_from[t, :, 0] = 0
            best = torch.cat((still[:, :1], torch.maximum(value, still[:, 1:])), 1)
            best = best / best.amax(1, keepdim=True).clamp_min(_TINY)
        found = torch.full((batch, steps), -1, dtype=torch.int64, device=best.device)
        state = best.argmax(1)
        for t in range(steps - 1, -1, -1):
            is_link = linked[t, rows, state]
            found[:, t] = torch.where(is_link, state - 1, -1)
            state = came_from[t, rows, state]
        return found
