"""What a person watches: the log, metrics.jsonl, TensorBoard and the progress bar."""

import json
import logging
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nmt.analysis.curves import draw_curves
from nmt.analysis.heatmap import attention_image
from nmt.training.run_folder import RunFolder
from nmt.training.validation import Finding

log = logging.getLogger("nmt")


def start_log(path: Path | None, *, quiet: bool = False) -> None:
    """Sends the program's log to standard error and, with the time, to the file `path`. quiet: to the file alone."""
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    if not quiet:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(screen)
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file)


class Journal:
    """Writes what happens at each update into the run folder, from `update` on: what stood there beyond it is dropped, so
    that a resumed run has no point twice."""

    def __init__(self, run: RunFolder, update: int, *, tensorboard: bool = True):
        self.run = run
        self._forget_after(update)
        self._metrics = run.metrics.open("a", encoding="utf-8")
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and not everyone wants it

            self._board = SummaryWriter(str(run.tensorboard), purge_step=update + 1)
        console = Console(stderr=True)
        self._bar = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True
            )
            self._task = self._bar.add_task("training", total=1.0)
            self._bar.start()

    def train(self, update: int, spent: float, numbers: dict[str, float]) -> None:
        """numbers: loss (nats a token), lr, grad_norm, tokens_per_second (target), epoch, ..."""
        self._write(update, "train", numbers)
        line = (
            f"update {update}  epoch {numbers['epoch']:.2f}  loss {numbers['loss']:.3f}  lr {numbers['lr']:.2e}  "
            f"norm {numbers['grad_norm']:.2f}  {numbers['tokens_per_second']:.0f} target tokens/s"
        )
        if self._bar is None:
            log.info(line)
        else:
            self._bar.update(self._task, completed=spent, description=line)

    def valid(self, update: int, finding: Finding, numbers: dict[str, float], best: bool) -> None:
        """numbers: loss, perplexity, bleu, seconds."""
        self._write(update, "valid", numbers)
        log.info(
            f"update {update}  validation: perplexity {numbers['perplexity']:.2f}  BLEU {numbers['bleu']:.2f}  "
            f"({numbers['seconds']:.0f} s){'  best so far' if best else ''}"
        )
        for src, reference, translation in finding.samples[:1]:
            log.info(f"  source     {src}\n  reference  {reference}\n  hypothesis {translation.text}")
        self._show_samples(update, finding)
        self._metrics.flush()
        draw_curves(self.run.metrics, self.run.curves)

    def close(self) -> None:
        """Ends the bar and puts everything on disk."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        self._metrics.close()

    def flush(self) -> None:
        """Puts the numbers on disk, as a checkpoint counts on them."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        if self._board is not None:
            self._board.flush()

    def _write(self, update: int, kind: str, numbers: dict[str, float]) -> None:
        self._metrics.write(json.dumps({"update": update, "kind": kind, **numbers}) + "\n")
        self._metrics.flush()
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(f"{kind}/{name}", number, update)

    def _show_samples(self, update: int, finding: Finding) -> None:
        if self._board is None:
            return
        for number, (src, reference, translation) in enumerate(finding.samples):
            text = f"source: {src}  \nreference: {reference}  \nhypothesis: {translation.text}"
            self._board.add_text(f"sample/{number}", text, update)
            if translation.weights.size:
                image = attention_image(translation.weights, translation.src_pieces, translation.tgt_pieces)
                self._board.add_image(f"attention/{number}", image, update, dataformats="HWC")

    def _forget_after(self, update: int) -> None:
        if not self.run.metrics.exists():
            return
        kept = []
        for line in self.run.metrics.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["update"] <= update:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):  # the line that a kill cut off
                continue
        beside = self.run.metrics.with_suffix(".partial")
        beside.write_text("".join(kept), encoding="utf-8")
        beside.replace(self.run.metrics)


class Silence:
    """The journal of the ranks that do not write."""

    def train(self, update: int, spent: float, numbers: dict[str, float]) -> None: ...
    def valid(self, update: int, finding: Finding, numbers: dict[str, float], best: bool) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
