"""Compares the speed of training with loops as in tutorials: forward and backward of one batch.

    python scripts/bench_training.py                                   base size, one thread, fp32 and bf16
    python scripts/bench_training.py --size small --repeats 3
    python scripts/bench_training.py --decoder luong --precision bf16
    python scripts/bench_training.py --size paper --device cuda --precision bf16

Variants, with the same weights, and with equal loss and gradients (checked in float64):
  naive   everything in the loop: query and memory are concatenated and projected at each step, also the output layer
  keys    keys once per sentence and one output layer after the loop; the rest as above
  plain   the reference loops of nmt.model, differentiated by autograd
  fast    the loops that training uses
Repeats are interleaved; a ratio is the median of the ratios of all repeats. With one CPU thread, times are CPU times,
on which other programs of the machine have less influence. Peak memory is measured in a separate process, without model
and libraries.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from nmt.acceleration.fused import FusedLoops
from nmt.attention.scores import AdditiveAttention, Attention, ScoreFunction, build_attention
from nmt.data.batches import Batch
from nmt.layers.cells import Cell, CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.model.decoder import BahdanauDecoder, Bridge, DecoderSizes, InitHidden, LuongDecoder
from nmt.model.encoder import Encoder
from nmt.model.initialization import Initialization, initialize
from nmt.model.seq2seq import Seq2Seq


class Size(NamedTuple):
    """The sizes of a model and a batch. words: of each vocabulary; batch: sentence pairs; length: of each sentence."""

    embedding: int
    encoder: int
    decoder: int
    attention: int
    readout: int
    words: int
    batch: int
    length: int


SIZES = {
    "tiny": Size(8, 8, 16, 12, 8, 40, 3, 5),  # for `check` and the tests
    "small": Size(128, 128, 256, 256, 256, 4000, 32, 20),
    "base": Size(256, 256, 512, 512, 512, 8000, 64, 30),
    "paper": Size(620, 1000, 1000, 1000, 500, 30000, 80, 50),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build_model(
    size: Size,
    decoder: str,
    attention: int | None = None,
    cells: tuple[CellKind, CellKind] = (CellKind.gru, CellKind.gru),
) -> Seq2Seq:
    """A model on the fused loops. cells: of encoder and decoder."""
    torch.manual_seed(0)
    memory = 2 * size.encoder
    encoder = Encoder(size.words, embedding=size.embedding, hidden=size.encoder, cell=cells[0])
    bridge = Bridge(InitHidden.backward_first, size.encoder, 2, [size.decoder])
    sizes = DecoderSizes(size.words, size.embedding, size.decoder, memory=memory, readout=size.readout, cell=cells[1])
    match decoder:
        case "bahdanau":
            additive = build_attention(ScoreFunction.additive, size.decoder, memory, attention or size.attention)
            built = BahdanauDecoder(sizes, attention=additive, bridge=bridge)
        case "luong":
            general = build_attention(ScoreFunction.general, size.decoder, memory, 0)
            built = LuongDecoder(sizes, attention=general, bridge=bridge, input_feeding=False)
        case _:
            raise ValueError(f"--decoder {decoder}: legal are bahdanau, luong")
    model = Seq2Seq(encoder, built, loops=FusedLoops())
    initialize(model, Initialization.xavier)
    return model


def make_batch(size: Size, device: str, length: int | None = None, ragged: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(1)
    steps = length or size.length
    src, tgt_in, tgt_out = (torch.randint(4, size.words, (size.batch, steps), generator=generator) for _ in range(3))
    lengths = torch.full((size.batch,), steps)
    if ragged:
        lengths[1:] -= torch.arange(1, size.batch) % (steps - 1)
        padding = torch.arange(steps) >= lengths.unsqueeze(1)
        src, tgt_in, tgt_out = (ids.masked_fill(padding, 0) for ids in (src, tgt_in, tgt_out))
    return Batch.of(src, lengths, tgt_in, tgt_out).to(device)


# Loops as in tutorials, with the weights of the model.


def two_decoders(model: Seq2Seq) -> BahdanauDecoder | LuongDecoder:
    """The decoder of the model, with its type checked."""
    assert isinstance(model.decoder, BahdanauDecoder | LuongDecoder)
    return model.decoder


def gru_step(cell: Cell, inputs: Tensor, extra: Tensor | float, state: Tensor) -> Tensor:
    """inputs (B, X), state (B, H), extra (B, 3 H) added to the gates -> the next state (B, H)."""
    gates = cell.project(inputs) + extra
    size = cell.size
    update, reset = torch.sigmoid(gates[:, : 2 * size] + functional.linear(state, cell.weight[: 2 * size])).chunk(2, 1)
    candidate = torch.tanh(gates[:, 2 * size :] + functional.linear(reset * state, cell.weight[2 * size :]))
    return (1 - update) * state + update * candidate


def loop_encode(model: Seq2Seq, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Encodes token by token -> memory (B, S, M), mask (B, S), initial decoder state (B, H)."""
    encoder, bridge = model.encoder, two_decoders(model).bridge
    assert isinstance(encoder, Encoder)
    assert bridge.project is not None
    (forward, backward), steps = encoder.cells[0], batch.src.shape[1]
    mask = torch.arange(steps, device=batch.src.device) < batch.src_lengths.unsqueeze(1)
    embedded = encoder.embedding(batch.src)
    zeros = embedded.new_zeros(len(embedded), encoder.hidden)
    state, there, back = zeros, [], []
    for t in range(steps):
        state = gru_step(forward, embedded[:, t], 0.0, state) * mask[:, t, None]
        there.append(state)
    state = zeros
    for t in reversed(range(steps)):
        state = gru_step(backward, embedded[:, t], 0.0, state) * mask[:, t, None]
        back.insert(0, state)
    memory = torch.cat((torch.stack(there, 1), torch.stack(back, 1)), 2)
    return memory, mask, torch.tanh(bridge.project(back[0]))


def loop_loss(model: Seq2Seq, batch: Batch, keys_once: bool) -> Tensor:
    """The summed cross-entropy, by a loop over target tokens that autograd differentiates."""
    memory, mask, state = loop_encode(model, batch)
    decoder = two_decoders(model)
    outputs = []
    keys = decoder.attention.project_keys(memory) if keys_once else None
    for t in range(batch.tgt_in.shape[1]):
        embedded = decoder.embedding(batch.tgt_in[:, t])
        if isinstance(decoder, LuongDecoder):
            state = gru_step(decoder.cell, embedded, 0.0, state)
            context = loop_attend(decoder.attention, state, keys, memory, mask)
            output = torch.tanh(decoder.combine(torch.cat((context, state), 1)))
        else:
            context = loop_attend(decoder.attention, state, keys, memory, mask)
            output = decoder.readout(state, decoder.readout.word(embedded), context)
            state = gru_step(decoder.cell, embedded, decoder.context(context), state)
        outputs.append(output if keys_once else model.output(output))
    logits = torch.stack(outputs, 1)
    if keys_once:
        logits = model.output(logits)
    return functional.cross_entropy(logits.flatten(0, 1), batch.tgt_out.flatten(), ignore_index=0, reduction="sum")


def loop_attend(attention: Attention, state: Tensor, keys: Tensor | None, memory: Tensor, mask: Tensor) -> Tensor:
    """state (B, H), keys (B, S, A) or None to compute them here, memory (B, S, M) -> context (B, M)."""
    if isinstance(attention, AdditiveAttention):
        if keys is None:
            joined = torch.cat((state.unsqueeze(1).expand(-1, memory.shape[1], -1), memory), 2)
            both = torch.cat((attention.query.weight, attention.key.weight), 1)
            energies = torch.tanh(functional.linear(joined, both, attention.key.bias)) @ attention.v
        else:
            energies = torch.tanh(attention.project_query(state).unsqueeze(1) + keys) @ attention.v
    else:
        keys = attention.project_keys(memory) if keys is None else keys
        energies = (keys @ attention.project_query(state).unsqueeze(2)).squeeze(2)
    weights = energies.masked_fill(~mask, -1e4).softmax(1)
    return (weights.unsqueeze(1) @ memory).squeeze(1)


def naive(model: Seq2Seq, batch: Batch) -> Tensor:
    return loop_loss(model, batch, keys_once=False)


def keys(model: Seq2Seq, batch: Batch) -> Tensor:
    return loop_loss(model, batch, keys_once=True)


@lru_cache(maxsize=1)
def reference_of(model: Seq2Seq) -> Seq2Seq:
    """The model with the reference loops and the same weights."""
    return model.with_loops(ReferenceLoops())


def plain(model: Seq2Seq, batch: Batch) -> Tensor:
    return reference_of(model).loss(batch).objective


def fast(model: Seq2Seq, batch: Batch) -> Tensor:
    return model.loss(batch).objective


VARIANTS: dict[str, Callable[[Seq2Seq, Batch], Tensor]] = {"naive": naive, "keys": keys, "plain": plain, "fast": fast}


def step(variant: str, model: Seq2Seq, batch: Batch, precision: str) -> None:
    """Forward and backward of one batch; earlier gradients are dropped."""
    dtype = DTYPES[precision]
    half = torch.autocast(batch.src.device.type, dtype) if dtype is not torch.float32 else nullcontext()
    for parameter in model.parameters():
        parameter.grad = None
    with half:
        loss = VARIANTS[variant](model, batch)
    (loss / batch.tgt_out.numel()).backward()


def check(decoder: str) -> float:
    """The largest difference between gradients of the variants, in float64, for sentences of unequal length."""
    size = SIZES["tiny"]
    model, batch = build_model(size, decoder).double(), make_batch(size, "cpu", ragged=True)
    grads = {name: torch.autograd.grad(run(model, batch), list(model.parameters())) for name, run in VARIANTS.items()}
    return max(
        (a - b).abs().max().item() for other in grads.values() for a, b in zip(other, grads["plain"], strict=True)
    )


def seconds(work: Callable[[], object], device: str, threads: int) -> float:
    """The time of one call: CPU time with one CPU thread, else wall time."""
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def matrix_rate(dtype: torch.dtype, device: str, threads: int) -> float:
    """FLOP/s of a large square matrix product, the best of five."""
    width = 1024 if device == "cpu" else 8192
    a, b = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    out = a @ b
    return max(2 * width**3 / seconds(lambda: torch.mm(a, b, out=out), device, threads) for _ in range(5))


def resident(field: str) -> int:
    """The current (VmRSS) or the peak (VmHWM) resident memory of this process, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def peak_memory(
    variant: str, size: Size, decoder: str, precision: str, device: str, attention: int | None, length
) -> int:
    """The peak memory of one step in bytes, without model, gradients and libraries."""
    model = build_model(size, decoder, attention).to(device)
    step(variant, model, make_batch(size._replace(batch=2), device, length), precision)  # loads libraries
    batch = make_batch(size, device, length)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(variant, model, batch, precision)
        return torch.cuda.max_memory_allocated() - before
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # resets VmHWM
    step(variant, model, batch, precision)
    return resident("VmHWM") - before


def peak_memory_apart(variant: str, precision: str, options: argparse.Namespace, attention=0, length=0) -> float:
    """As `peak_memory`, in MB, in a separate process: memory freed earlier would be reused and make the peak lower."""
    request = [variant, options.size, options.decoder, precision, options.device, attention, length]
    command = [sys.executable, __file__, "--threads", str(options.threads), "--peak", json.dumps(request)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6


def processor() -> str:
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure(options: argparse.Namespace) -> None:
    size, device, threads = SIZES[options.size], options.device, options.threads
    model = build_model(size, options.decoder).to(device)
    batch = make_batch(size, device)
    tokens = size.batch * size.length
    with FlopCounterMode(display=False) as counter:
        step("keys", model, batch, "fp32")
    flops = counter.get_total_flops()
    runs = [(variant, precision) for precision in options.precision for variant in options.variants]
    times: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
    rates: dict[str, list[float]] = {precision: [] for precision in options.precision}
    for run in runs:
        step(run[0], model, batch, run[1])  # warm-up
    for _ in range(options.repeats):
        for precision in options.precision:
            rates[precision].append(matrix_rate(DTYPES[precision], device, threads))
        for variant, precision in runs:
            work = lambda variant=variant, precision=precision: step(variant, model, batch, precision)  # noqa: E731
            times[variant, precision].append(seconds(work, device, threads))
    where = processor() if device == "cpu" else torch.cuda.get_device_name()
    print(
        f"{options.decoder}, size {options.size} {tuple(size)}, {where}, {threads} threads, torch {torch.__version__}"
    )
    print(f"{tokens} target tokens, {flops / 1e9:.1f} GFLOP forward and backward; gradients agree to", end=" ")
    print(f"{check(options.decoder):.0e} in float64; medians of {options.repeats} interleaved repeats")
    rate = {precision: statistics.median(values) for precision, values in rates.items()}
    print("matrix rates, GFLOP/s: " + ", ".join(f"{name} {value / 1e9:.0f}" for name, value in rate.items()))
    baselines = [run for run in (("naive", "fp32"), ("keys", "fp32")) if run in times]
    head = "".join(f"{'x ' + name + ' ' + precision:>14}" for name, precision in baselines)
    print(
        f"{'variant':<8}{'precision':<10}{'ms':>8}{'tokens/s':>10}{head}{'x keys same':>14}{'of rate':>9}{'peak MB':>9}"
    )
    for variant, precision in runs:
        mine = times[variant, precision]

        def ratio(other: tuple[str, str], mine: list[float] = mine) -> str:
            if other not in times:
                return f"{'-':>14}"
            return f"{statistics.median(a / b for a, b in zip(times[other], mine, strict=True)):>14.2f}"

        median = statistics.median(mine)
        peak = f"{peak_memory_apart(variant, precision, options):9.0f}" if options.memory else f"{'-':>9}"
        print(
            f"{variant:<8}{precision:<10}{median * 1e3:8.0f}{tokens / median:10.0f}"
            + "".join(ratio(run) for run in baselines)
            + f"{ratio(('keys', precision))}{flops / median / rate[precision]:9.0%}{peak}",
            flush=True,
        )


def tabulate_memory(options: argparse.Namespace) -> None:
    """Prints the peak memory for several sentence lengths, with the attention size and with twice that size."""
    size = SIZES[options.size]
    print(f"peak MB of one step, {options.decoder}, size {options.size}, attention {size.attention} -> doubled, fp32")
    for length in (25, 50, 100):
        cells = []
        for variant in ("keys", "plain", "fast"):
            usual, doubled = (
                peak_memory_apart(variant, "fp32", options, attention, length)
                for attention in (size.attention, 2 * size.attention)
            )
            cells.append(f"{variant} {usual:.0f} -> {doubled:.0f}")
        print(f"S = T = {length:<4}" + "   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--decoder", choices=["bahdanau", "luong"], default="bahdanau")
    parser.add_argument("--precision", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    parser.add_argument("--memory-table", action="store_true", help="print only the peak memory by sentence length")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        variant, size, decoder, precision, device, attention, length = json.loads(options.peak)
        print(peak_memory(variant, SIZES[size], decoder, precision, device, attention or None, length or None))
    elif options.memory_table:
        tabulate_memory(options)
    else:
        measure(options)


if __name__ == "__main__":
    main()
