"""Logging of metrics: the log, metrics.jsonl, TensorBoard and the progress bar."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from nmt.analysis.metrics import METRICS
from nmt.checkpoint import named
from nmt.checkpoint.progress import Progress
from nmt.checkpoint.run_folder import RunFolder
from nmt.validation.translation import ValidationResult

log = logging.getLogger("nmt")


class MetricsLogger:
    """Writes the metrics of updates and validations into the run folder, after `open`."""

    def __init__(self, run: RunFolder, *, tensorboard: bool = True, quiet: bool = False):
        """quiet: without the log and the progress bar."""
        self.run, self.tensorboard, self.quiet = run, tensorboard, quiet
        self._board = self._bar = None

    def open(self, progress: Progress) -> "MetricsLogger":
        """Continues the files of the run folder from `progress`.

        Later entries, of a process that was killed before it saved, are removed: no point is written twice.
        """
        run = self.run
        kept, again = _kept(run.metrics, progress)
        self._metrics = run.metrics.open("a", encoding="utf-8")
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

            # TensorBoard forgets whole updates. Of this one it must keep the training numbers, so they are told again.
            self._board = SummaryWriter(str(run.tensorboard), purge_step=progress.update + (0 if again else 1))
            for line in kept if again else []:
                if line["update"] == progress.update:
                    self._show(line["update"], line["kind"], line)
        console = Console(stderr=True)
        if console.is_terminal and not self.quiet:
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True
            )
            self._task = self._bar.add_task("training", total=1.0)
            self._bar.start()
        return self

    @contextmanager
    def opened(self, progress: Progress) -> Iterator[None]:
        """A context manager that opens and closes the logger; closing does not hide an error of the block."""
        self.open(progress)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self.close()
            raise
        self.close()

    def train(self, update: int, spent: float, numbers: dict[str, float]) -> None:
        """numbers: loss (nats per token), kl (likewise, of two passes), expected_cost (per sentence), lr, grad_norm,
        tokens_per_second (target), epoch, ..."""
        self._write(update, "train", numbers)
        if not self.quiet:
            self._log_train(update, spent, numbers)

    def _log_train(self, update: int, spent: float, numbers: dict[str, float]) -> None:
        others = {"kl": "kl", "expected_cost": "expected cost"}
        more = "".join(f"{name} {numbers[key]:.3f}  " for key, name in others.items() if key in numbers)
        line = (
            f"update {update}  epoch {numbers['epoch']:.2f}  loss {numbers['loss']:.3f}  "
            f"{more}lr {numbers['lr']:.2e}  norm {numbers['grad_norm']:.2f}  "
            f"{numbers['tokens_per_second']:.0f} target tokens/s"
        )
        log.info(line, extra={"file_only": self._bar is not None})
        if self._bar is not None:
            self._bar.update(self._task, completed=spent, description=line)

    def valid(self, update: int, result: ValidationResult, numbers: dict[str, float], best: bool) -> None:
        """numbers: loss, perplexity, metrics, seconds, and attention_... if the model has attention."""
        self._write(update, "valid", numbers)
        if not self.quiet:
            self._log_valid(update, result, numbers, best)
        self._show_samples(update, result)
        from nmt.analysis.curves import draw_curves  # matplotlib is slow to import, and translating draws no curves

        with named(self.run.curves):
            draw_curves(self.run.metrics, self.run.curves)

    def _log_valid(self, update: int, result: ValidationResult, numbers: dict[str, float], best: bool) -> None:
        scores = "".join(f"{METRICS[name].label} {score:.2f}  " for name, score in result.scores.items())
        if result.alignment:
            scores += f"alignment error rate {result.aer:.1f} %  "
        log.info(
            f"update {update}  validation: perplexity {numbers['perplexity']:.2f}  {scores}"
            f"({numbers['seconds']:.0f} s){'  best so far' if best else ''}"
        )
        if result.attention_stats:
            found = result.attention_stats
            log.info(
                f"  attention: entropy {found.entropy:.2f}, largest weight {found.max_weight:.2f}, on the end "
                f"{found.eos_mass:.1%}; source words without attention {found.uncovered:.1%}, too much "
                f"{found.over_attended:.1%}; "
                f"steps forward {found.forward:.1%}"
            )
        for src, reference, translation in result.samples[:1]:
            log.info(f"  source     {src}\n  reference  {reference}\n  hypothesis {translation.text}")

    def close(self) -> None:
        """Ends the progress bar and writes everything to disk."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        self._metrics.close()

    def flush(self) -> None:
        """Writes the numbers to disk, before a checkpoint that refers to them."""
        with named(self.run.metrics):
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        if self._board is not None:
            with named(self.run.tensorboard):
                self._board.flush()

    def _write(self, update: int, kind: str, numbers: dict[str, float]) -> None:
        with named(self.run.metrics):
            self._metrics.write(json.dumps({"update": update, "kind": kind, **numbers}) + "\n")
            self._metrics.flush()
        self._show(update, kind, numbers)

    def _show(self, update: int, kind: str, numbers: dict) -> None:
        if self._board is not None:
            with named(self.run.tensorboard):
                for name, number in numbers.items():
                    if name not in ("update", "kind"):
                        self._board.add_scalar(f"{kind}/{name}", number, update)

    def _show_samples(self, update: int, result: ValidationResult) -> None:
        if self._board is None:
            return
        from nmt.analysis.heatmap import attention_image

        for number, (src, reference, translation) in enumerate(result.samples):
            text = f"source: {src}  \nreference: {reference}  \nhypothesis: {translation.text}"
            self._board.add_text(f"sample/{number}", text, update)
            if translation.weights.size:
                image = attention_image(translation.weights, translation.src_pieces, translation.tgt_pieces)
                self._board.add_image(f"attention/{number}", image, update, dataformats="HWC")


def _kept(metrics: Path, progress: Progress) -> tuple[list[dict], bool]:
    """The lines of metrics.jsonl up to where `progress` is, once the others are gone, and whether among these is a
    validation of the same update (killed between it and the saving)."""
    if not metrics.exists():
        return [], False
    kept, again = [], False
    for raw in metrics.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(raw)
            update, kind = line["update"], line["kind"]
            if update <= (progress.validated if kind == "valid" else progress.update):
                kept.append(line)
            elif update == progress.update:
                again = True
        except (ValueError, KeyError, TypeError):  # the line that a kill cut off
            continue
    beside = metrics.with_suffix(".partial")
    beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    beside.replace(metrics)
    return kept, again
