"""Measures training on a CUDA GPU, in one run of a few minutes: speeds, ratios, single kernels and a profile.

    python scripts/bench_gpu.py OUT                       everything at the published sizes, in bf16
    python scripts/bench_gpu.py OUT --parts kernels       one part; --help lists them
    python scripts/bench_gpu.py OUT --device cpu --tiny   only tests that the script works

Forward and backward of one batch, in interleaved repeats, of RNNsearch of the published size (620/1000/1000/500, 30,000
words, sentences of 50) and of Luong's general score without input feeding (4 layers of 1024):
  loop      keys once per sentence, the rest in the loop, differentiated by autograd ("keys" of bench_training)
  fused     the fused loops, with hand-written backward passes, in torch's operations
  kernels   the fused loops with the kernels of Triton and cuDNN that work on this machine
  graphs    fused in CUDA graphs; kernels+graphs: kernels in CUDA graphs; update: the same, then clipping and Adam
Percentages are of the speed of a large bf16 product and of the bandwidth of a large copy, both measured on this
machine. If a part fails, this is reported, and the others run. Writes the output (bench.txt), the numbers (bench.json)
and the profile to OUT.
"""

import argparse
import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bench_training as loops
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nmt import build
from nmt.acceleration.cuda_graphs import CudaGraphs
from nmt.acceleration.fused import FusedLoops
from nmt.acceleration.fused.selfcheck import check_kernel
from nmt.acceleration.kernels import Kernel, kernels_enabled
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import ScoreFunction, Source, build_attention
from nmt.cli import CONFIGS
from nmt.config.schema import TrainConfig
from nmt.data.batches import Batch
from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.model.decoder import Bridge, DecoderSizes, InitHidden, LuongDecoder
from nmt.model.encoder import Encoder
from nmt.model.seq2seq import Seq2Seq
from nmt.runtime.device import Device, seed_everything
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import LossOptions
from nmt.training.gradients import Gradients, SyncedFlags
from nmt.training.optim import OptimizerOptions

Work = Callable[[], object]
PAPER, TINY = loops.SIZES["paper"], loops.SIZES["tiny"]


class Bench:
    """The state that the parts share: the device, its speed and bandwidth, and the output files."""

    def __init__(self, options: argparse.Namespace):
        self.out, self.tiny, self.seconds = options.out, options.tiny, options.seconds
        self.begun = time.monotonic()
        kind = torch.device(options.device)
        self.device = Device(kind, torch.bfloat16, "for the benchmark")
        self.cuda = kind.type == "cuda"
        self.size = TINY if self.tiny else PAPER
        self.batches = [3, 4] if self.tiny else options.batches
        self.corpus = options.corpus
        self.figures: dict[str, object] = {}
        self.peaks: dict[str, float] = {}  # peak memory of each variant in the last measurement, GB above the start
        self.works: list[Kernel] = []
        self.rate = self.bandwidth = float("nan")
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = (self.out / "bench.txt").open("w", encoding="utf-8")

    def say(self, line: str) -> None:
        print(line, flush=True)
        print(line, file=self.log, flush=True)

    def keep(self, name: str, figure: object) -> None:
        self.figures[name] = figure
        (self.out / "bench.json").write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def once(self, work: Work, calls: int = 1) -> float:
        """Seconds per call, for `calls` consecutive calls."""
        self.wait()
        start = time.perf_counter()
        for _ in range(calls):
            work()
        self.wait()
        return (time.perf_counter() - start) / calls

    def interleaved(self, runs: dict[str, Work]) -> dict[str, float]:
        """The median seconds of each function; one that fails is reported and left out."""
        times: dict[str, list[float]] = {}
        for name, work in runs.items():
            try:
                before = torch.cuda.memory_allocated() if self.cuda else 0
                torch.cuda.reset_peak_memory_stats() if self.cuda else None
                for _ in range(3):  # warm-up: compiles kernels, selects algorithms, captures graphs
                    work()
                self.wait()
                times[name] = []
                self.peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e9 if self.cuda else 0.0
            except Exception as error:
                self.say(f"  {name} FAILED: {first_line(error)}")
                traceback.print_exc(file=self.log)
        for _ in range(2 if self.tiny else 5):
            for name, found in times.items():
                found.append(self.once(runs[name], 1 if self.tiny else 2))
        return {name: statistics.median(found) for name, found in times.items()}


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


# The parts


def check(bench: Bench) -> None:
    """Reports the GPU and the kernels that work, and measures its speed and bandwidth, for the other parts."""
    if bench.cuda:
        properties = torch.cuda.get_device_properties(bench.device.device)
        bench.say(
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {properties.multi_processor_count} SMs"
        )
        bench.say(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    for dtype in (torch.float32, torch.bfloat16):
        for kernel in Kernel:
            why = check_kernel(kernel, bench.device.device, dtype)
            bench.say(f"{kernel.value} in {str(dtype).removeprefix('torch.')}: {why or 'agrees with torch'}")
            if not why and dtype is bench.device.dtype:
                bench.works.append(kernel)
    width = 256 if bench.tiny else 8192
    a, b = (torch.randn(width, width, device=bench.device.device, dtype=torch.bfloat16) for _ in range(2))
    bench.once(lambda: a @ b, 3)
    bench.rate = 2 * width**3 / min(bench.once(lambda: a @ b, 10) for _ in range(3))
    room = torch.empty(2, 2**16 if bench.tiny else 2**30, dtype=torch.uint8, device=bench.device.device)
    bench.once(lambda: room[0].copy_(room[1]), 3)
    bench.bandwidth = 2 * room.shape[1] / min(bench.once(lambda: room[0].copy_(room[1]), 10) for _ in range(3))
    bench.say(f"bf16 product {bench.rate / 1e12:.3f} TFLOP/s, copy {bench.bandwidth / 1e9:.0f} GB/s")
    bench.keep("bf16_flops", bench.rate)
    bench.keep("bandwidth", bench.bandwidth)


def rnnsearch(bench: Bench) -> None:
    """RNNsearch: all variants and the loop, at each batch size."""
    for rows in bench.batches:
        size = bench.size._replace(batch=rows)
        model = loops.build_model(size, "bahdanau").to(bench.device.device).train()
        batch = loops.make_batch(size, str(bench.device.device))
        few = loops.make_batch(size._replace(batch=2), str(bench.device.device))
        with FlopCounterMode(display=False) as counter:
            loops.step("keys", model, few, "bf16")
        flops = counter.get_total_flops() / 2 * rows
        runs = {"loop": lambda: loops.step("keys", model, batch, "bf16")}  # noqa: B023
        runs |= our_runs(bench, model, batch)
        tell(bench, f"rnnsearch B={rows}", runs, rows * size.length, flops, "loop")


def luong(bench: Bench) -> None:
    """Luong's model, whose encoder and decoder can run in cuDNN: source and target tokens per second."""
    hidden, layers, words = (16, 2, 40) if bench.tiny else (1024, 4, 30_000)
    encoder = Encoder(words, embedding=hidden, hidden=hidden, layers=layers, cell=CellKind.lstm, bidirectional=False)
    sizes = DecoderSizes(words, hidden, hidden, memory=hidden, layers=layers, cell=CellKind.lstm)
    general = build_attention(ScoreFunction.general, hidden, hidden, 0)
    bridge = Bridge(InitHidden.last, hidden, 1, [2 * hidden] * layers)
    decoder = LuongDecoder(sizes, attention=general, bridge=bridge, input_feeding=False)
    model = Seq2Seq(encoder, decoder, loops=FusedLoops()).to(bench.device.device).train()
    for rows in bench.batches:
        size = bench.size._replace(batch=rows, words=words)
        batch = loops.make_batch(size, str(bench.device.device))
        few = loops.make_batch(size._replace(batch=2), str(bench.device.device))
        with FlopCounterMode(display=False) as counter:
            model.with_loops(ReferenceLoops()).loss(few).objective.backward()
        flops = counter.get_total_flops() / 2 * rows
        tell(bench, f"luong B={rows}", our_runs(bench, model, batch), 2 * rows * size.length, flops, "fused")


def kernels(bench: Bench) -> None:
    """Each Triton kernel alone, with the bandwidth that it reaches."""
    if Kernel.triton not in bench.works:
        bench.say("  Triton's kernels do not run here")
        return
    from nmt.acceleration.fused import triton_attention, triton_loss
    from nmt.acceleration.fused.attention import Query
    from nmt.acceleration.fused.scores import ScoreWeights, create_attention

    place = {"device": bench.device.device, "dtype": torch.bfloat16}
    positions, width, memory_width = bench.size.length, bench.size.attention, 2 * bench.size.encoder
    for rows in bench.batches[:2]:
        memory, keys = torch.randn(rows, positions, memory_width, **place), torch.randn(rows, positions, width, **place)
        mask = torch.ones(rows, positions, dtype=torch.bool, device=bench.device.device)
        query, v = torch.randn(width, 8, **place), torch.randn(width, **place)
        states = torch.randn(positions, rows, 8, **place)
        step_query, workspace = Query(states[0].float(), states[0]), torch.zeros(rows, 8, device=bench.device.device)
        with kernels_enabled(Kernel.triton):
            attention = create_attention(
                *(Source(memory, keys, mask), ScoreWeights(query, v), Normalizer.softmax, positions),
                *(torch.bfloat16, torch.float32),
            )
        attention.forward_steps(Query(states.float(), states))
        attention.start_backward(Query(states.float(), states), torch.randn_like(attention.contexts), None)
        attention.backward_steps(torch.zeros(positions, rows, 8, device=bench.device.device))

        def forward() -> None:
            attention.forward_step(0, step_query)  # noqa: B023

        def backward() -> None:
            attention.backward_step(0, step_query, workspace)  # noqa: B023

        works = dict.fromkeys(("energies_forward", "context_forward"), forward)
        works |= dict.fromkeys(("context_backward", "energies_backward"), backward)
        moved = 2 * rows * positions * (width + memory_width)  # bytes, by the forward or the backward step
        for name, work in works.items():
            usual = triton_attention.TILES[name]
            for tile in [usual] if bench.tiny else [usual, *map(triton_attention.Tile._make, OTHER_TILES)]:
                triton_attention.TILES[name] = tile
                tell_kernel(bench, f"{name} {tuple(tile)} B={rows}", alone(bench, work), moved)
            triton_attention.TILES[name] = usual
        seconds = alone(bench, attention.score_gradients)
        tell_kernel(bench, f"keys_backward B={rows}", seconds, 2 * 2 * rows * positions * width)
    rows = 4 if bench.tiny else 4096
    logits = torch.randn(rows, bench.size.words, **place)
    gold = torch.randint(0, bench.size.words, (rows, 1), device=bench.device.device)
    seconds = alone(bench, lambda: triton_loss.softmax_less_gold_(logits, gold, 1.0, True))
    tell_kernel(bench, f"softmax of {rows} x {bench.size.words}", seconds, 3 * 2 * logits.numel())


def profile(bench: Bench) -> None:
    """The time of each kernel in one update, without CUDA graphs."""
    size = bench.size._replace(batch=bench.batches[len(bench.batches) // 2])
    model = loops.build_model(size, "bahdanau").to(bench.device.device).train()
    batch = loops.make_batch(size, str(bench.device.device))
    bench.say(f"{size.batch} pairs")
    passes, adam = our_runs(bench, model, batch)["kernels"], torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)

    def run() -> None:
        passes()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()

    run()
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if bench.cuda else []
    with torch.profiler.profile(activities=kinds, record_shapes=True) as profiler:
        run()
        bench.wait()
    order = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    averages = profiler.key_averages()
    by_shape = profiler.key_averages(group_by_input_shape=True).table(sort_by=order, row_limit=100)
    (bench.out / "profile.txt").write_text(averages.table(sort_by=order, row_limit=60) + by_shape, encoding="utf-8")
    for line in averages.table(sort_by=order, row_limit=12, max_name_column_width=50).splitlines():
        bench.say(line[:200])


def recipes(bench: Bench) -> None:
    """Updates on real batches: target tokens per second over the first batches of an epoch, after a warm-up.

    Batches differ in shape, so CUDA graphs are captured for many shapes and replayed with padding; this part measures
    the result.
    """
    for name, words in RECIPES.items():
        config = compose_train([*words, *bench.corpus, *(TINY_RECIPE if bench.tiny else [])])
        seed_everything(config.seed)
        corpus = build.read_corpus(config.data, "train")
        tokenizer = build.build_tokenizer(config.tokenizer, corpus, Path(config.data.cache))
        encoded = build.encode(corpus, tokenizer, config.data, skip=True)
        batches = build.build_batches(config, encoded, training=True)
        group = [[rows] for rows in batches.epoch(0)[: 3 if bench.tiny else 60]]
        tokens = sum(int(encoded.tgt_lengths[rows].sum()) for (rows,) in group)
        bench.say(f"{name}: {len(group)} updates, {tokens} target tokens, {len(tokenizer.tgt)} words")
        for way, kernels, recorded in (("fused", [], 0), ("kernels", bench.works, 0), ("graphs", bench.works, 1)):
            model = build.new_model(config, tokenizer, bench.device.device).train()
            optimizer, _ = build.build_optim(config, model)
            gradients = Gradients(
                model, batches, loss=config.loss, optimizer=config.optim, device=bench.device, distributed=Distributed()
            )
            if recorded:
                gradients.graphs = CudaGraphs(
                    model, replace(bench.device, cuda_graphs=True), None if bench.cuda else lambda work: work
                )

            def run(model=model, gradients=gradients, optimizer=optimizer, kernels=kernels) -> None:
                with kernels_enabled(*kernels):
                    for (rows,), following in zip(group, [*group[1:], []], strict=True):  # noqa: B023
                        nll, *_ = gradients.accumulate([rows], SyncedFlags())
                        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.max_grad_norm)  # noqa: B023
                        gradients.prefetch(following)
                        torch.stack((nll.double(), norm.double())).tolist()
                        optimizer.step()

            first = [bench.once(run) for _ in range(1 + 2 * recorded)]
            seconds = min(bench.once(run) for _ in range(1 if bench.tiny else 2))
            said = f", the first time {1e3 * first[0] / len(group):.1f} ms"
            if gradients.graphs:
                made = len(gradients.graphs.captured)
                said += f", {made} graphs captured, {(first[1] - first[0]) / max(1, made):.2f} s each"
            each = 1e3 * seconds / len(group)
            bench.say(f"  {way:<16}{each:9.2f} ms/update {tokens / seconds / 1e3:9.1f} k tokens/s{said}")
            bench.keep(f"{name} {way}", {"seconds": seconds / len(group), "tokens_per_second": tokens / seconds})
        if bench.cuda:
            torch.cuda.empty_cache()


def after(bench: Bench) -> None:
    """RNNsearch's sizes with cuDNN's variant of the GRU, in the encoder alone, and in encoder and decoder."""
    rows = bench.batches[len(bench.batches) // 2]
    size = bench.size._replace(batch=rows)
    batch = loops.make_batch(size, str(bench.device.device))
    for name, cells in (
        ("encoder", (CellKind.gru_reset_after, CellKind.gru)),
        ("both", (CellKind.gru_reset_after, CellKind.gru_reset_after)),
    ):
        model = loops.build_model(size, "bahdanau", cells=cells).to(bench.device.device).train()
        runs = our_runs(bench, model, batch)
        tell(bench, f"gru_reset_after in {name} B={rows}", runs, rows * size.length, math.nan, "fused")


PARTS = {
    "check": check,
    "rnnsearch": rnnsearch,
    "luong": luong,
    "recipes": recipes,
    "after": after,
    "kernels": kernels,
    "profile": profile,
}
RECIPES = {
    "multi30k": ["+experiment=multi30k"],
    "base": ["+experiment=bahdanau", "preset=base", "tokenizer.vocab_size=6000"],
    "transformer": ["+experiment=transformer_multi30k"],
}
OTHER_TILES = [(8, 256, 4), (8, 256, 2), (16, 256, 4), (16, 512, 8)]
TINY_RECIPE = [
    *("tokenizer.vocab_size=400", "batch.size=200", "model.encoder.hidden=8", "model.decoder.hidden=16"),
    *("model.encoder.embedding=16", "model.decoder.embedding=16", "model.decoder.readout=16"),
    "model.transformer.feedforward=32",
]


def compose_train(words: list[str]) -> TrainConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", words))
    assert isinstance(config, TrainConfig)
    return config


# Functions that the parts use


def our_runs(bench: Bench, model: Seq2Seq, batch: Batch) -> dict[str, Work]:
    """The variants "fused", "kernels", "graphs", "kernels+graphs" and "update"; see the docstring of the module."""

    def passes(kernels: list[Kernel], recorded: bool, then: Work | None = None) -> Work:
        gradients = Gradients(
            model,
            None,  # pyright: ignore
            loss=LossOptions(),
            optimizer=OptimizerOptions(),
            device=bench.device,
            distributed=Distributed(),
        )
        made: list[CudaGraphs] = []

        def run() -> None:
            if recorded and not made:  # not earlier, as it takes memory
                made.append(
                    CudaGraphs(
                        model, replace(bench.device, cuda_graphs=True), None if bench.cuda else lambda work: work
                    )
                )
                gradients.graphs = made[0]
            with kernels_enabled(*kernels):
                gradients.zero()
                gradients.add(batch, batch.tokens)
            if then:
                then()
            if gradients.graphs and gradients.graphs.broken:
                raise RuntimeError("CUDA graphs could not be captured")

        return run

    parameters = list(model.parameters())
    adam: list[torch.optim.Optimizer] = []

    def update() -> Tensor:
        if not adam:
            adam.append(torch.optim.Adam(parameters, lr=1e-6, fused=True))
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam[0].step()
        return norm

    return {
        "fused": passes([], False),
        "kernels": passes(bench.works, False),
        "graphs": passes([], True),
        "kernels+graphs": passes(bench.works, True),
        "update": passes(bench.works, True, update),
    }


def tell(bench: Bench, title: str, runs: dict[str, Work], tokens: int, flops: float, baseline: str) -> None:
    bench.say(f"{title}: {tokens} tokens, {flops / 1e9:.3g} GFLOP")
    times = bench.interleaved(runs)
    for name, seconds in times.items():
        ratio = f"{times[baseline] / seconds:6.2f} x {baseline}" if baseline in times else ""
        bench.say(
            f"  {name:<16}{seconds * 1e3:9.2f} ms {tokens / seconds / 1e3:9.1f} k tokens/s "
            f"{flops / seconds / bench.rate:7.1%} of the bf16 rate {bench.peaks[name]:5.1f} GB {ratio}"
        )
        bench.keep(f"{title} {name}", {"seconds": seconds, "tokens_per_second": tokens / seconds})
    if bench.cuda:
        runs.clear()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def alone(bench: Bench, work: Work) -> float:
    """Seconds per call, for many calls in one CUDA graph, without launch overhead between them."""
    calls = 2 if bench.tiny else 50
    if not bench.cuda:
        return bench.once(work, calls)
    work()
    graph = torch.cuda.CUDAGraph()
    bench.wait()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    return min(bench.once(graph.replay) for _ in range(5)) / calls


def tell_kernel(bench: Bench, title: str, seconds: float, bytes_moved: float) -> None:
    bench.say(
        f"  {title:<36}{seconds * 1e6:9.1f} us {bytes_moved / seconds / 1e9:8.0f} GB/s "
        f"{bytes_moved / seconds / bench.bandwidth:6.0%} of the copy's"
    )
    bench.keep(title, {"seconds": seconds, "bytes": bytes_moved})


def part(bench: Bench, name: str) -> bool:
    """Runs a part -> whether it succeeded."""
    if time.monotonic() - bench.begun > bench.seconds:
        bench.say(f"== {name}: left out, the time is up")
        return False
    bench.say(f"== {name}")
    try:
        run: Callable[[Bench], None] = PARTS[name]
        run(bench)
        return True
    except Exception as error:
        bench.say(f"{name} FAILED: {first_line(error)}")
        traceback.print_exc(file=bench.log)
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="very small models and batches, to test the script")
    parser.add_argument("--batches", type=int, nargs="+", default=[80, 256, 1024], help="batch sizes in sentences")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--corpus", nargs="+", default=["data=demo"], metavar="KEY=VALUE", help="nmt.train settings for the recipes"
    )
    parser.add_argument("--seconds", type=float, default=540, help="no part starts after this many seconds")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: torch sees no CUDA GPU here: try --device cpu --tiny")
    bench = Bench(options)
    bench.say(f"torch {torch.__version__}, {' '.join(sys.argv[1:])}")
    done = {name: part(bench, name) for name in dict.fromkeys(["check", *options.parts])}
    bench.say(
        f"== {time.monotonic() - bench.begun:.0f} s: "
        + ", ".join(f"{n} {'ok' if d else 'FAILED'}" for n, d in done.items())
    )
    for name, figure in bench.figures.items():
        if isinstance(figure, dict) and "tokens_per_second" in figure:
            bench.say(f"{name:<32}{figure['tokens_per_second'] / 1e3:10.1f} k tokens/s")


if __name__ == "__main__":
    main()
