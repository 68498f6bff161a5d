"""The export command: `python -m nmt.export checkpoint=RUN out=FOLDER` exports a model as ONNX for other programs."""

import logging
from pathlib import Path

import torch

from nmt import build
from nmt.cli import run_command
from nmt.config.schema import ExportConfig
from nmt.model.seq2seq import Seq2Seq
from nmt.onnx.checking import TOLERANCE, largest_difference
from nmt.onnx.writing import check_installed, write
from nmt.runtime.atomic import written_beside
from nmt.runtime.logs import start_log

log = logging.getLogger("nmt")


def main(config: ExportConfig, _overrides: list[str]) -> None:
    start_log(None)
    out = Path(config.out or "")
    if out.exists():
        raise ValueError(f"out={out}: is there already; try another name")
    check_installed()
    loaded = build.load_translator(config.checkpoint, torch.device("cpu"))
    assert isinstance(loaded.model, Seq2Seq)  # no ensemble, as it is a single checkpoint
    src, tgt = build.languages(loaded.config.data)
    log.info(f"exporting {loaded.folder}")
    with written_beside(out, folder=True) as folder:
        decode = loaded.config.decode
        lengths = {"max_length": decode.max_length, "max_length_ratio": decode.max_length_ratio}
        about = {"name": loaded.config.name, "src": src, "tgt": tgt, "search": lengths}
        write(folder, loaded.model, loaded.tokenizer, about)
        difference = largest_difference(folder, loaded.model)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"checkpoint={config.checkpoint}: onnxruntime computes numbers of this model that are off by "
                f"{difference:.1g}: try another version of it (pip install -U onnxruntime onnxscript)"
            )
    print(f"written to {out}; onnxruntime computes the same numbers within {difference:.1e}")


if __name__ == "__main__":
    run_command("export", main, ExportConfig)
