"""Measures the wall-clock time until a validation reaches a given BLEU, with the reference loops and as users train.

    python scripts/time_to_bleu.py OUT --bleu 34 +experiment=multi30k data=files data.src=de data.tgt=en \\
        data.train=multi30k/train data.valid=multi30k/val trainer.max_minutes=null trainer.max_updates=3500

    plain   the reference loops, differentiated by autograd; float32
    fast    nmt.train with the given settings

Trains in OUT/plain and OUT/fast, one after the other; --variant selects one of them. Times are from the start of the
process, so they include reading the corpus and validations.
"""

import argparse
import json
import runpy
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

VARIANTS = {"plain": ["precision=fp32"], "fast": []}


def train_plainly(overrides: list[str]) -> None:
    from nmt.acceleration.fused import FusedLoops  # here, as the parent process does not need torch
    from nmt.build import model as building
    from nmt.layers.loops import ReferenceLoops

    class PlainLoops(ReferenceLoops):
        """The reference loops in training; validations search as in the variant "fast"."""

        def for_inference(self, model, *, fold_memory: bool, rescore_top_k: int):
            return FusedLoops().for_inference(model, fold_memory=fold_memory, rescore_top_k=rescore_top_k)

    sys.argv[1:] = overrides
    with patch.object(building, "FusedLoops", PlainLoops):
        runpy.run_module("nmt.train", run_name="__main__")


def measure(variant: str, out: Path, overrides: list[str]) -> list[tuple[float, int, float]]:
    """Trains a variant -> (seconds, updates, BLEU) of each validation."""
    command = ["-m", "nmt.train"] if variant == "fast" else [__file__, "--plainly"]
    begun = time.monotonic()
    child = subprocess.Popen([sys.executable, *command, *overrides, *VARIANTS[variant], f"run={out / variant}"])
    metrics, validations = out / variant / "metrics.jsonl", []
    while True:
        over = child.poll() is not None
        found = []
        for line in metrics.read_text().splitlines(keepends=True) if metrics.exists() else []:
            if line.endswith("\n") and (entry := json.loads(line))["kind"] == "valid":
                found.append(entry)
        validations += [
            (time.monotonic() - begun, entry["update"], entry["bleu"]) for entry in found[len(validations) :]
        ]
        if over:
            break
        time.sleep(0.5)
    if child.returncode:
        sys.exit(f"{variant} ended with {child.returncode}")
    if not validations:
        sys.exit(f"{variant} had no validation: give more updates, or a smaller trainer.validate_every=")
    return validations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bleu", type=float, default=34.0)
    parser.add_argument("--variant", choices=VARIANTS, help="run this variant only")
    parser.add_argument("overrides", nargs="*", help="settings of python -m nmt.train")
    options = parser.parse_intermixed_args()
    table = []
    for variant in [options.variant] if options.variant else VARIANTS:
        validations = measure(variant, options.out, options.overrides)
        reached = next((entry for entry in validations if entry[2] >= options.bleu), None)
        when = f"{reached[0] / 60:.1f} min, update {reached[1]}" if reached else "not reached"
        seconds, updates, bleu = validations[-1]
        table.append(
            f"{variant:6} BLEU {options.bleu:g}: {when:28} {updates} updates: {seconds / 60:.1f} min, BLEU {bleu:.2f}"
        )
    print("\n".join(table))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plainly"]:
        train_plainly(sys.argv[2:])
    else:
        main()
