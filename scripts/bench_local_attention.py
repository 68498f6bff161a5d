"""Compares the time of local and global attention, by the length of the source.

    python scripts/bench_local_attention.py

Measures the attention alone: a step of decoding, and forward and backward of twenty steps of training. Prints
milliseconds, the minimum over rounds. All variants run in each round, so that other programs of the machine have little
influence. Both use torch's operations; the fused loops, which support global attention only, are not used in training.
"""

import argparse
import time
from collections.abc import Callable

import torch

from nmt.attention.composed import AttentionOptions, compose_attention
from nmt.attention.local import Extent
from nmt.attention.scores import Attention, ScoreFunction

STEPS = 20  # of training


def decode(attention: Attention, memory: torch.Tensor, hidden: torch.Tensor) -> Callable[[], object]:
    """A function that runs a step in the middle of the source. memory (B, S, M), hidden (STEPS, B, H)."""
    attention.requires_grad_(False)
    source = attention.source(memory, torch.ones(memory.shape[:2], dtype=torch.bool))
    state = attention.initial_state(memory)
    state = state._replace(position=state.position + memory.shape[1] // 2)
    return lambda: attention.step(hidden[0], source, state)


def train(attention: Attention, memory: torch.Tensor, hidden: torch.Tensor) -> Callable[[], object]:
    """A function that runs all steps in order, and computes the gradients. memory (B, S, M), hidden (STEPS, B, H)."""
    mask = torch.ones(memory.shape[:2], dtype=torch.bool)
    leaves = [memory.clone().requires_grad_(), hidden.clone().requires_grad_()]

    def work() -> object:
        source = attention.source(leaves[0], mask)
        state, contexts = attention.initial_state(memory), []
        for query in leaves[1]:
            context, _, state = attention.step(query, source, state)
            contexts.append(context)
        return torch.autograd.grad(torch.stack(contexts).sum(), leaves)

    return work


def milliseconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The minimum time of each function over interleaved rounds."""
    fastest = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            fastest[name] = min(fastest[name], 1000 * (time.perf_counter() - start))
    return fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, nargs="+", default=[30, 100, 400], help="lengths of the source")
    parser.add_argument("--window", type=int, default=10, help="window size D of local attention")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256, help="of states, encoder outputs and keys")
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    torch.manual_seed(1)
    print(f"D={asked.window}, {asked.batch} sentences, {asked.size} units, {torch.get_num_threads()} threads")
    print(f"{'score':10}{'work':10}{'S':>5}" + "".join(f"{extent.value:>12}" for extent in Extent))
    for score in (ScoreFunction.additive, ScoreFunction.general):
        for name, prepare in (("decoding", decode), ("training", train)):
            for positions in asked.positions:
                memory = torch.randn(asked.batch, positions, asked.size)
                hidden = torch.randn(STEPS, asked.batch, asked.size)
                works = {}
                for extent in Extent:
                    options = AttentionOptions(score, size=asked.size, extent=extent, window=asked.window)
                    works[extent.value] = prepare(compose_attention(options, asked.size, asked.size), memory, hidden)
                times = milliseconds(works, asked.rounds)
                print(f"{score.value:10}{name:10}{positions:>5}" + "".join(f"{time:>12.2f}" for time in times.values()))


if __name__ == "__main__":
    main()
