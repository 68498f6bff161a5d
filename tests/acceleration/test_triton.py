"""Triton's kernels, on a CUDA GPU or in its interpreter: the additive score and the vocabulary's softmax."""

import os
import re
import subprocess
import sys

import pytest
import torch

from nmt.acceleration.fused.loss import cross_entropy
from nmt.acceleration.fused.selfcheck import check_kernel
from nmt.acceleration.kernels import Kernel, kernels_enabled
from nmt.layers import loss as reference
from tests.support.models import reference_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

# Before 3.9 Triton's interpreter trips over NumPy 2.4.
pytest.importorskip(
    "triton", minversion="3.9" if DEVICE == "cpu" else None, reason="needs triton: pip install '.[triton]'"
)

pytestmark = pytest.mark.gpu if DEVICE == "cuda" else []

# Stacks have cells whose gradient comes from other cells; the encoder's two run side by side.
LOOPS = [
    ("bahdanau", {"layers": 2}),
    ("luong", {"layers": 2}),
    ("bahdanau", {}),
    ("conditional_gru", {}),
    ("luong", {"input_feeding": True}),
    ("luong", {"input_feeding": False}),
]


@pytest.fixture
def sentences(make_batch):
    """Ragged, one source of 21 words (so that a tile has two rows of 16 positions) and one of a single one."""
    batch = make_batch((21, 9, 1), (4, 2, 3))
    return type(batch)(*(part.to(DEVICE) for part in batch))


def loss_and_gradients(model, sentences, *kernels):
    names, parameters = zip(*model.named_parameters(), strict=True)
    with kernels_enabled(*kernels):
        logits, weights = model(sentences.src, sentences.src_lengths, sentences.tgt_in)
        loss = logits.float().square().sum() + weights.pow(3).sum()
        return loss, dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "options"), LOOPS)
@pytest.mark.parametrize(("rows", "columns"), [(2, 16), (8, 512)])
def test_the_kernels_are_the_plain_path(make, sentences, decoder, options, rows, columns, monkeypatch):
    from nmt.acceleration.fused import triton_attention, triton_cells

    tile = triton_attention.Tile(rows, columns, 4)
    monkeypatch.setattr(triton_attention, "TILES", dict.fromkeys(triton_attention.TILES, tile))
    monkeypatch.setattr(triton_attention, "KEYS_TILE", rows * columns)
    ran = []
    monkeypatch.setattr(
        triton_attention.TritonAdditive,
        "score_gradients",
        lambda attention, whole=triton_attention.TritonAdditive.score_gradients: ran.append(1) or whole(attention),
    )
    monkeypatch.setattr(triton_cells, "BLOCK", 4)  # units of eight in two programs
    model = make(decoder, dtype=torch.float32, attention_size=21, **options).to(DEVICE)
    loss, fast = loss_and_gradients(model, sentences, Kernel.triton)
    expected, plain = loss_and_gradients(reference_of(model), sentences)
    assert ran == [1]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    largest = max(gradient.norm() for gradient in plain.values())
    for name, gradient in plain.items():
        assert (fast[name] - gradient).norm() < 2e-5 * gradient.norm() + 1e-6 * largest, name


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "options"), LOOPS)
def test_the_kernels_take_bf16(make, sentences, decoder, options):
    model = make(decoder, dtype=torch.float32, attention_size=21, **options).to(DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        loss, fast = loss_and_gradients(model, sentences, Kernel.triton)
        expected, of_torch = loss_and_gradients(model, sentences)
    exact = loss_and_gradients(reference_of(model), sentences)[1]
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=1e-2)
    for name, gradient in exact.items():  # no farther from the exact gradient than what torch's operations make
        error, usual = (fast[name] - gradient).norm(), (of_torch[name] - gradient).norm()
        assert error < 2 * usual + 0.02 * gradient.norm() + 1e-3, name


def test_saturated_scores_stay_finite(make, sentences):
    model = make(dtype=torch.float32).to(DEVICE)
    with torch.no_grad():
        model.decoder.attention.query.weight.mul_(1000)
        model.decoder.attention.key.weight.mul_(1000)
    loss, fast = loss_and_gradients(model, sentences, Kernel.triton)
    expected, _ = loss_and_gradients(reference_of(model), sentences)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    assert all(gradient.isfinite().all() for gradient in fast.values())


def test_a_source_too_long_for_the_kernels_is_left_to_torch(make, sentences, monkeypatch):
    from nmt.acceleration.fused import triton_attention

    monkeypatch.setattr(triton_attention, "MAX_POSITIONS", 20)
    monkeypatch.setattr(triton_attention, "TritonAdditive", None)
    model = make(dtype=torch.float32).to(DEVICE)
    loss, _ = loss_and_gradients(model, sentences, Kernel.triton)
    assert loss.isfinite()


@pytest.fixture
def parts():
    """features, weight and bias of 37 words, targets with padding."""
    torch.manual_seed(0)
    features, weight, bias = (torch.randn(*shape) for shape in ((3, 5, 6), (37, 6), (37,)))
    targets = torch.randint(1, 37, (3, 5))
    targets[0, 3:] = 0
    leaves = [part.to(DEVICE).requires_grad_() for part in (features, weight, bias)]
    return *leaves, targets.to(DEVICE)


def loss_from_features(parts, kernels=(), loss_of=cross_entropy, **options):
    with kernels_enabled(*kernels):
        loss = loss_of(*parts, **options)
    return loss, torch.autograd.grad(loss.objective / 7, parts[:3])


@pytest.mark.parametrize("block", [16, 64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_kernels_loss_is_torchs(parts, smoothing, block, monkeypatch):
    from nmt.acceleration.fused import triton_loss

    monkeypatch.setattr(triton_loss, "BLOCK", block)
    loss, grads = loss_from_features(parts, [Kernel.triton], smoothing=smoothing, chunk=5)
    expected, theirs = loss_from_features(parts, loss_of=reference.cross_entropy, smoothing=smoothing)
    torch.testing.assert_close(loss.objective, expected.objective)
    torch.testing.assert_close(loss.nll, expected.nll)
    for gradient, other in zip(grads, theirs, strict=True):
        torch.testing.assert_close(gradient, other)


def test_the_kernels_loss_takes_bf16(parts):
    with torch.autocast(DEVICE, torch.bfloat16):
        loss, grads = loss_from_features(parts, [Kernel.triton], smoothing=0.1)
        expected, theirs = loss_from_features(parts, smoothing=0.1)
    torch.testing.assert_close(loss.objective, expected.objective, rtol=1e-3, atol=1e-3)
    for gradient, other in zip(grads, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_the_kernels_loss_of_huge_logits_is_finite(parts, size):
    parts = (parts[0].detach() * size, *parts[1:])
    with kernels_enabled(Kernel.triton), torch.no_grad():
        loss = cross_entropy(*parts)
        torch.testing.assert_close(loss.nll, reference.cross_entropy(*parts).nll, rtol=1e-5, atol=1e-5)


def test_the_trial_finds_that_the_kernels_work():
    before = torch.get_rng_state()
    for dtype in (torch.float32, torch.bfloat16):
        assert check_kernel(Kernel.triton, torch.device(DEVICE), dtype) == ""
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("fault", ["a wrong number", "an error", "not a number"])
def test_the_trial_finds_what_does_not_work(fault, monkeypatch):
    from nmt.acceleration.fused.triton_attention import TritonAdditive

    def memory_gradient(attention, whole=TritonAdditive.memory_gradient):
        if fault == "an error":
            raise RuntimeError("no kernel image is available")
        return whole(attention) * (1.2 if fault == "a wrong number" else float("nan"))

    monkeypatch.setattr(TritonAdditive, "memory_gradient", memory_gradient)
    found = check_kernel(Kernel.triton, torch.device(DEVICE), torch.float32)
    assert ("no kernel image" if fault == "an error" else "away from what torch computes") in found


COMPILE = """
import subprocess
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from nmt.acceleration.fused import triton_cells, triton_attention
from nmt.acceleration.fused.triton_loss import softmax_rows

NARROW = {"queries", "keys", "memory", "low_precision",
          "d_queries", "d_keys", "logits", "reset_state", "d_reset_state", "d_gates"}
kernels = [triton_attention.energies_forward, triton_attention.context_forward, triton_attention.keys_backward]
kernels += [softmax_rows]
kernels += [triton_attention.context_backward, triton_attention.energies_backward]
kernels += [triton_cells.reset_forward, triton_cells.update_forward]
kernels += [triton_cells.update_backward, triton_cells.reset_backward]
for kernel in kernels:
    names = kernel.arg_names
    fixed = {"size": 1000, "width": 2000, "vocab_size": 30000, "LOW_PRECISION": True, "MASKED": True, "MORE": True}
    fixed |= {"WEIGHED": True, "GRADIENT": True}
    fixed |= {"BLOCK": 4096 if kernel is softmax_rows else 1024}
    if kernel is triton_attention.keys_backward:
        fixed |= {"BLOCK_S": 64, "BLOCK_A": 32, "LIMIT": triton_attention.LIMIT}
    elif "positions" in names:
        fixed |= {"BLOCK": 64, "BLOCK_S": 8, "BLOCK_A": 512, "BLOCK_M": 512}
    fixed = {name: value for name, value in fixed.items() if name in names}
    numbers = [name for name in names if name.endswith(("step", "steps", "positions"))]
    kinds = {name: "*bf16" if name in NARROW else "*fp32" for name in names} | {name: "i32" for name in numbers}
    kinds |= {"gold": "*i64", "gold_share": "fp32"} if kernel is softmax_rows else {}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if kinds[name].startswith("*")}
    kinds |= {name: "constexpr" for name in fixed}
    aligned = {place: hint for place, hint in aligned.items() if names[place[0]] not in fixed}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=fixed, attrs=aligned)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(made.asm["cubin"])
        cubin.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", cubin.name]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout, done.stderr)
"""


@pytest.mark.slow
@pytest.mark.process
def test_the_kernels_compile_for_a_hopper_gpu(tmp_path):
    """Triton brings its own assembler: no GPU is needed, only a process in which its interpreter is off."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    stacks = [int(size) for size in re.findall(r"STACK:(\d+)", done.stdout)]  # where registers are spilled to
    assert len(stacks) == 10, done.stdout
    assert max(stacks) <= 8, done.stdout
