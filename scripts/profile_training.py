"""Measures the time of the parts of an update, with the data and the model of a recipe.

    python scripts/profile_training.py                                   the multi30k recipe's model on the demo corpus
    python scripts/profile_training.py data=files data.src=de data.tgt=en data.train=multi30k/train precision=bf16
    python scripts/profile_training.py device=cuda +experiment=bahdanau preset=paper --updates 50

Arguments KEY=VALUE are those of `python -m nmt.train`. On CUDA, the script synchronizes with the device after each
part, so an update takes longer than in training; the calls of cuDNN, Triton and CUDA graphs are not divided.
"""

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from bench_training import processor
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nmt import build
from nmt.acceleration.fused.attention import FusedAttention
from nmt.acceleration.selection import prepare_device
from nmt.cli import CONFIGS
from nmt.config import schema
from nmt.runtime.device import seed_everything
from nmt.training.optim import EMA

PARTS = (
    "data",
    "encoder",
    "decoder",
    "  its attention",
    "loss",
    "backward",
    "  its attention back",
    "clip",
    "optimizer",
    "average",
)


class Stopwatch:
    """Measures seconds by part; `lap` returns and resets them."""

    def __init__(self, device: torch.device):
        self.device = device
        self.spent: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, part: str, work: Callable) -> Callable:
        """A function that calls `work` and adds its time to `part`."""

        def run(*args, **options):
            begun = self.now()
            result = work(*args, **options)
            self.spent[part] += self.now() - begun
            return result

        return run

    def lap(self) -> dict[str, float]:
        spent, self.spent = self.spent, defaultdict(float)
        return spent


def profile(config: schema.TrainConfig, updates: int) -> list[dict[str, float]]:
    """The seconds by part of each update, and `tokens`, its target tokens; the first three updates are a warm-up."""
    device = prepare_device(config.device, config.precision)
    seed_everything(config.seed)
    train = build.read_corpus(config.data, "train")
    tokenizer = build.build_tokenizer(config.tokenizer, train, Path(config.data.cache))
    encoded = build.encode(train, tokenizer, config.data, skip=True)
    model = build.new_model(config, tokenizer, device.device).train()
    optimizer, _ = build.build_optim(config, model)
    ema = EMA(model, config.optim.ema_decay)
    batches = build.build_batches(config, encoded, training=True)
    watch = Stopwatch(device.device)
    # The steps of attention are part of "decoder" and of "backward".
    forth, back = FusedAttention.forward_step, FusedAttention.backward_step
    model.encoder.forward = watch.timed("encoder", model.encoder.forward)
    model.decoder.features = watch.timed("decoder", model.decoder.features)
    forward = watch.timed("forward", model.loss)
    collate = watch.timed("data", lambda rows: batches.collate(rows).to(device.device))
    FusedAttention.forward_step, FusedAttention.backward_step = (
        watch.timed("  its attention", forth),
        watch.timed("  its attention back", back),
    )
    try:
        laps = []
        for rows in batches.epoch(0)[: updates + 3]:
            batch = collate(rows)
            tokens = int(encoded.tgt_lengths[rows].sum())
            model.zero_grad(set_to_none=True)
            with device.autocast():
                loss = forward(batch, config.loss.label_smoothing)
            watch.timed("backward", (loss.objective / tokens).backward)()
            watch.timed("clip", torch.nn.utils.clip_grad_norm_)(
                model.parameters(), config.optim.max_grad_norm or math.inf
            )
            watch.timed("optimizer", optimizer.step)()
            if config.optim.ema_decay:
                watch.timed("average", ema.update)(1)
            lap = watch.lap()
            lap["loss"] = lap.pop("forward") - lap["encoder"] - lap["decoder"]
            laps.append({**lap, "tokens": float(tokens)})
    finally:
        FusedAttention.forward_step, FusedAttention.backward_step = forth, back
    return laps[3:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="settings of `python -m nmt.train`")
    parser.add_argument("--updates", type=int, default=30)
    options = parser.parse_intermixed_args()
    overrides = options.overrides
    if not any("experiment=" in each for each in overrides):
        overrides = [
            "+experiment=multi30k",
            *([] if any("data=" in each for each in overrides) else ["data=demo"]),
            *overrides,
        ]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", overrides))
    assert isinstance(config, schema.TrainConfig)
    if config.threads:
        torch.set_num_threads(config.threads)
    laps = profile(config, options.updates)
    device = prepare_device(config.device, config.precision)
    where = processor() if device.device.type == "cpu" else torch.cuda.get_device_name()
    print(f"{where}, {torch.get_num_threads()} threads, {device.reason}; medians of {len(laps)} updates")
    whole = [sum(seconds for part, seconds in lap.items() if part in PARTS and part[0] != " ") for lap in laps]
    print(f"{'part':<18}{'ms':>8}{'share':>8}")
    for part in PARTS:
        mine = [lap.get(part, 0.0) for lap in laps]
        share = statistics.median(a / b for a, b in zip(mine, whole, strict=True))
        print(f"{part:<18}{1e3 * statistics.median(mine):8.1f}{share:8.0%}")
    speed = statistics.median(lap["tokens"] / total for lap, total in zip(laps, whole, strict=True))
    print(f"{'an update':<18}{1e3 * statistics.median(whole):8.1f}   {speed:.0f} target tokens a second")


if __name__ == "__main__":
    main()
