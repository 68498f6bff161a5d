"""CUDA graphs: encoder and decoder captured once for each shape of batch, forward and backward, and then replayed.

A recurrent update is thousands of small kernels; a GPU takes less time to run one than to launch it. A graph launches
them all at once. It has its own memory: batches are copied into it and padded to its shape, and it adds gradients to
the tensors of the parameters' gradients at capture, which must therefore not be replaced.

A batch is always padded to its shape, captured or not, and capturing does not change the random state. So the result of
an update does not depend on earlier captures, and a resumed run equals an uninterrupted one.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.data.batches import Batch
from nmt.data.symbols import PAD
from nmt.runtime.device import Device, random_states, restore_random_states

log = logging.getLogger("nmt")

STEP = 8  # rows and lengths are rounded up to a multiple of it: more padding, fewer shapes
MAX_GRAPHS = 128  # captured shapes: each takes as long as tens of updates, and its own memory
WARM_UP = 3  # runs before a capture: in the first, libraries select algorithms and Triton compiles

Work = Callable[[], None]


class Shape(NamedTuple):
    """The numbers of rows, source positions and target positions of a batch."""

    rows: int
    src: int
    tgt: int

    @classmethod
    def of(cls, batch: Batch) -> "Shape":
        """The smallest shape that the batch fits into."""
        sizes = (*batch.src.shape, batch.tgt_in.shape[1])
        return cls(*(-(-size // STEP) * STEP for size in sizes))


class CudaGraphs:
    """The graphs of `model` in training. capture: turns work into a function that repeats it, on the same memory,
    without running it."""

    def __init__(self, model, device: Device, capture: Callable[[Work], Work] | None = None):
        self.model, self.device = model, device
        self.capture = capture or cuda_capture()
        # Gradients are added on the capture's stream, wherever they were computed: torch synchronizes both, and would
        # warn.
        if quiet := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
            quiet(False)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.seen: Counter[Shape] = Counter()
        self.captured: dict[Shape, CapturedGraph] = {}
        self.broken = False

    def zero(self) -> None:
        """Sets gradients to 0, and restores the gradient tensors that the graphs add to."""
        torch._foreach_zero_(self.gradients)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def passes(self, batch: Batch) -> "Passes":
        """Forward and backward for the batch's shape: captured when the shape occurs for the second time."""
        shape = Shape.of(batch)
        self.seen[shape] += 1
        if not self.broken and shape not in self.captured and self.seen[shape] > 1 and len(self.captured) < MAX_GRAPHS:
            states = random_states()
            try:
                self.captured[shape] = CapturedGraph(self, shape)
            except RuntimeError as error:  # also out of memory: without graphs more memory is free
                self.broken = True
                self.captured.clear()
                log.warning(f"going on without CUDA graphs: {' '.join(str(error).split())[:200]}")
            restore_random_states(states)
        return self.captured.get(shape) or Passes(self, shape)


class Passes:
    """Encoder and decoder for one shape: ``forward``, then ``backward`` of the same batch."""

    def __init__(self, graphs: CudaGraphs, shape: Shape):
        self.model, self.device = graphs.model, graphs.device
        place = {"dtype": torch.int64, "device": self.device.device}
        self.src = torch.full((shape.rows, shape.src), PAD, **place)
        self.src_lengths = torch.ones(shape.rows, **place)
        self.tgt_in = torch.full((shape.rows, shape.tgt), PAD, **place)

    def forward(self, batch: Batch) -> Tensor:
        """-> the features (B, T, R) of the batch, a leaf tensor. Padded rows have one token, and do not enter the
        loss."""
        (rows, positions), steps = batch.src.shape, batch.tgt_in.shape[1]
        self.src.fill_(PAD)[:rows, :positions] = batch.src
        self.src_lengths.fill_(1)[:rows] = batch.src_lengths
        self.tgt_in.fill_(PAD)[:rows, :steps] = batch.tgt_in
        self._run_forward()
        return self.features.detach()[:rows, :steps].requires_grad_()

    def backward(self, grad_features: Tensor) -> None:
        """grad_features (B, T, R): the gradient of the features; adds the gradients of the parameters of encoder and
        decoder."""
        rows, steps, _ = grad_features.shape
        self.grad_features.zero_()[:rows, :steps] = grad_features
        self._run_backward()

    def _run_forward(self) -> None:
        self._forward()
        self.grad_features = torch.empty_like(self.features)

    def _run_backward(self) -> None:
        self._backward()
        del self.features

    def _forward(self) -> None:
        with self.device.autocast():
            self.features = self.model.features_without_weights(self.src, self.src_lengths, self.tgt_in)

    def _backward(self) -> None:
        torch.autograd.backward(self.features, self.grad_features)


class CapturedGraph(Passes):
    """Passes that are captured once and replayed each time."""

    def __init__(self, graphs: CudaGraphs, shape: Shape):
        super().__init__(graphs, shape)
        self._warm_up(graphs.parameters)
        self._replay_forward = graphs.capture(self._forward)
        self._replay_backward = graphs.capture(self._backward)

    def _run_forward(self) -> None:
        self._replay_forward()

    def _run_backward(self) -> None:
        self._replay_backward()

    def _warm_up(self, parameters: list[Tensor]) -> None:
        """Runs on a separate stream, as CUDA requires, and does not add to .grad, which may already have gradients."""
        stream = _side_stream(self.device.device)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._forward()
                self.grad_features = torch.zeros_like(self.features)
                torch.autograd.grad(self.features, parameters, self.grad_features, allow_unused=True)
        if stream is not None:
            torch.cuda.current_stream().wait_stream(stream)
        del self.features  # with its autograd graph, which refers to that stream and must not be used in a capture


def _side_stream(device: torch.device) -> "torch.cuda.Stream | None":
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream


def cuda_capture() -> Callable[[Work], Work]:
    """All graphs share one memory pool, because they do not run concurrently: memory between the forward and the
    backward of one graph may be used by the next."""
    pool = torch.cuda.graph_pool_handle()

    def capture(work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            work()
        return graph.replay

    return capture
