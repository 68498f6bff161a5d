"""Writes a model as ONNX files: two graphs, the SentencePiece models, and model.json, which describes their use."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from nmt.data.symbols import EOS
from nmt.data.tokenizer import Tokenizer
from nmt.layers.loops import ReferenceLoops
from nmt.model.seq2seq import Seq2Seq
from nmt.onnx.description import DECODER, DESCRIPTION, ENCODER, describe
from nmt.onnx.graphs import Graph, decoder_graph, encoder_graph
from nmt.onnx.layout import Layout, layouts
from nmt.onnx.loops import ScanLoops

OPSET = 18  # of ONNX; onnxruntime supports it since version 1.14, of 2023
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Raises ValueError if a library of the extra `export` is missing."""
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError:
            raise ValueError(f"the export needs {name}: pip install 'attention-nmt[export]'") from None


def write(folder: Path, model: Seq2Seq, tokenizer: Tokenizer, about: dict[str, Any]) -> None:
    """Writes encoder.onnx, decoder.onnx, tokenizer/ and model.json into an existing folder.

    model: in eval mode and float32, on the CPU. about: further fields of model.json.
    """
    encoder, decoder = write_graphs(folder, model)
    tokenizer.save(folder / "tokenizer")
    text = json.dumps(describe(encoder, decoder, tokenizer, about), ensure_ascii=False, indent=2)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def write_graphs(folder: Path, model: Seq2Seq) -> tuple[Graph, Graph]:
    """Writes encoder.onnx and decoder.onnx; they have the equations of the reference loops, whatever loops the model
    uses."""
    reference = model.with_loops(ReferenceLoops())
    source, state = layouts(reference)
    scanned = model.with_loops(ScanLoops())
    encoder, decoder = encoder_graph(scanned, source, state), decoder_graph(scanned, source, state)
    _write_graph(folder / ENCODER, encoder, _sentences())
    _write_graph(folder / DECODER, decoder, _after_two_steps(reference, source, state))
    return encoder, decoder


# The sizes of the examples are above 1, as torch.export takes 1 for a fixed size, and all different.


def _sentences() -> tuple[Tensor, Tensor]:
    return torch.full((3, 5), EOS), torch.tensor([5, 4, 2])


def _after_two_steps(model: Seq2Seq, source: Layout, state: Layout) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    tokens = torch.full((3,), EOS)
    found, current = model.encode(*_sentences())
    for _ in range(2):
        _, current, _ = model.step(tokens, current, found)
    return tokens, source.hold(found), state.hold(current)


def _write_graph(path: Path, graph: Graph, example: tuple[Any, ...]) -> None:
    dims: dict[str, Any] = {}
    shapes = [
        {axis: dims.setdefault(size, Dim(size)) for axis, size in enumerate(part.shape) if isinstance(size, str)}
        for part in graph.inputs
    ]
    nested = tuple([shapes.pop(0) for _ in each] if isinstance(each, list) else shapes.pop(0) for each in example)
    with _without_notes():
        exported = torch.export.export(graph.module.eval(), example, dynamic_shapes=nested, strict=True)
        program = torch.onnx.export(
            exported,
            input_names=[part.name for part in graph.inputs],
            output_names=[part.name for part in graph.outputs],
            dynamic_shapes=nested,  # for their names
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(path)


@contextmanager
def _without_notes() -> Iterator[None]:
    """Suppresses messages of torch and onnxscript to their developers: about torchvision, constants, deprecations."""
    loggers = {name: logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    levels = {name: logger.level for name, logger in loggers.items()}
    try:
        for logger in loggers.values():
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
