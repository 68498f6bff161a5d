"""The kernels of ``triton_attention``: inputs in bf16, computation in float32. Importing requires triton."""

# pyright: reportMissingImports=false, reportIndexIssue=false
# If triton is installed, the code of kernels does not fit its types:
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import triton
import triton.language as tl

LOG_E_SQUARED = tl.constexpr(2.8853900817779268)  # log2 e^2: e^2x = 2^(LOG_E_SQUARED x)


@triton.jit
def reciprocal(x):
    """1 / x for x >= 1, to some units in the last place: one instruction and a product; a division takes nine."""
    root = tl.rsqrt(x)
    return root * root


# One compiled kernel for all numbers of positions and all alignments of a step's rows: the number of positions varies,
# and its tensors are a small part of the reads.
@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["energies"])
def energies_forward(
    queries,
    keys,
    v,
    bias,
    energies,
    positions,
    size: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    """Program (b, block of positions, t): queries (T, B, A), keys (B, S, A), v (A,), bias (B, S)
    -> energies (T, B, S), minus the sum of v; -inf on padding."""
    row = tl.program_id(0).to(tl.int64)
    step_row = tl.program_id(2) * tl.num_programs(0) + row
    s = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    is_token = tl.load(bias + row * positions + s, mask=s < positions, other=-1.0) == 0.0
    source = (row * positions + s)[:, None]
    total = tl.zeros([BLOCK_S], tl.float32)
    for start in range(0, size, BLOCK_A):
        a = start + tl.arange(0, BLOCK_A)
        inside = a < size
        query = LOG_E_SQUARED * tl.load(queries + step_row * size + a, mask=inside, other=0.0).to(tl.float32)
        v_part = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
        key = tl.load(keys + source * size + a[None, :], mask=is_token[:, None] & inside[None, :], other=0.0)
        r = reciprocal(1.0 + tl.exp2(query[None, :] + LOG_E_SQUARED * key.to(tl.float32)))
        total += tl.sum(v_part[None, :] * r, 1)
    total = tl.where(is_token, -2.0 * total, float("-inf"))
    tl.store(energies + step_row * positions + s, total, mask=s < positions)


@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["energies", "weights"])
def context_forward(
    energies,
    memory,
    weights,
    contexts,
    low_precision,
    positions,
    width: tl.constexpr,
    LOW_PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Program (b, block of columns, t): energies (T, B, S), memory (B, S, M)
    -> weights (T, B, S), contexts (T, B, M) and, with LOW_PRECISION, the contexts in the type of products. BLOCK: at
    least the number of positions."""
    row = tl.program_id(0).to(tl.int64)
    step_row = tl.program_id(2) * tl.num_programs(0) + row
    every = tl.arange(0, BLOCK)
    energy = tl.load(energies + step_row * positions + every, mask=every < positions, other=float("-inf"))
    highest = tl.max(energy, 0)
    alphas = tl.exp(energy - highest)
    total = tl.sum(alphas, 0)
    if tl.program_id(1) == 0:
        tl.store(weights + step_row * positions + every, alphas / total, mask=every < positions)
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = m < width
    sums = tl.zeros([BLOCK_S, BLOCK_M], tl.float32)
    for start in range(0, positions, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        part = tl.load(energies + step_row * positions + s, mask=s < positions, other=float("-inf"))
        is_token = part > float("-inf")
        source = (row * positions + s)[:, None]
        annotations = tl.load(memory + source * width + m[None, :], mask=is_token[:, None] & inside[None, :], other=0.0)
        sums += (tl.exp(part - highest) / total)[:, None] * annotations.to(tl.float32)
    context = tl.sum(sums, 0)
    tl.store(contexts + step_row * width + m, context, mask=inside)
    if LOW_PRECISION:
        tl.store(low_precision + step_row * width + m, context.to(low_precision.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["weights", "d_weights", "d_alphas"])
def context_backward(
    d_contexts,
    d_weights,
    weights,
    memory,
    d_alphas,
    positions,
    width: tl.constexpr,
    WEIGHED: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Program (b, block of positions, t): the gradient d_contexts (T, B, M) and, with WEIGHED, d_weights (T, B, S)
    -> d_alphas (T, B, S), the whole gradient of the weights."""
    row = tl.program_id(0).to(tl.int64)
    step_row = tl.program_id(2) * tl.num_programs(0) + row
    s = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    is_token = (
        tl.load(weights + step_row * positions + s, mask=s < positions, other=0.0) > 0.0
    )  # otherwise gradients are 0 too
    source = (row * positions + s)[:, None]
    total = tl.zeros([BLOCK_S], tl.float32)
    for start in range(0, width, BLOCK_M):
        m = start + tl.arange(0, BLOCK_M)
        inside = m < width
        d_context = tl.load(d_contexts + step_row * width + m, mask=inside, other=0.0).to(tl.float32)
        annotations = tl.load(memory + source * width + m[None, :], mask=is_token[:, None] & inside[None, :], other=0.0)
        total += tl.sum(annotations.to(tl.float32) * d_context[None, :], 1)
    if WEIGHED:
        total += tl.load(d_weights + step_row * positions + s, mask=s < positions, other=0.0).to(tl.float32)
    tl.store(d_alphas + step_row * positions + s, total, mask=s < positions)


@triton.jit(do_not_specialize=["positions"], do_not_specialize_on_alignment=["weights", "d_alphas", "d_energies"])
def energies_backward(
    d_alphas,
    queries,
    keys,
    v,
    weights,
    d_energies,
    d_queries,
    positions,
    size: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    """Program (b, block of columns, t): d_alphas (T, B, S) -> d_energies (T, B, S), d_queries (T, B, A). The terms of
    the energies are recomputed. BLOCK: at least the number of positions."""
    row = tl.program_id(0).to(tl.int64)
    step_row = tl.program_id(2) * tl.num_programs(0) + row
    every = tl.arange(0, BLOCK)
    alphas = tl.load(weights + step_row * positions + every, mask=every < positions, other=0.0)
    d = tl.load(d_alphas + step_row * positions + every, mask=every < positions, other=0.0)
    common = tl.sum(alphas * d, 0)
    if tl.program_id(1) == 0:
        tl.store(d_energies + step_row * positions + every, alphas * (d - common), mask=every < positions)
    a = tl.program_id(1) * BLOCK_A + tl.arange(0, BLOCK_A)
    inside = a < size
    query = LOG_E_SQUARED * tl.load(queries + step_row * size + a, mask=inside, other=0.0).to(tl.float32)
    v_part = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
    sums = tl.zeros([BLOCK_S, BLOCK_A], tl.float32)
    for start in range(0, positions, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        part = tl.load(weights + step_row * positions + s, mask=s < positions, other=0.0)
        d_part = tl.load(d_alphas + step_row * positions + s, mask=s < positions, other=0.0)
        source = (row * positions + s)[:, None]
        tile = (part > 0.0)[:, None] & inside[None, :]
        key = tl.load(keys + source * size + a[None, :], mask=tile, other=0.0)
        r = reciprocal(1.0 + tl.exp2(query[None, :] + LOG_E_SQUARED * key.to(tl.float32)))
        sums += (part * (d_part - common))[:, None] * (r - r * r)
    d_query = 4.0 * v_part * tl.sum(sums, 0)
    tl.store(d_queries + step_row * size + a, d_query.to(d_queries.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["positions", "steps"])
def keys_backward(
    queries,
    keys,
    v,
    d_energies,
    d_keys,
    d_v,
    steps,
    positions,
    size: tl.constexpr,
    LIMIT: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    """Program (b, units): queries (T, B, A), d_energies (T, B, S)
    -> d_keys (B, S, A) and, for each sentence, d_v (B, A): all steps at once, without intermediate results in memory.
    """
    row = tl.program_id(0).to(tl.int64)
    batch = tl.num_programs(0)
    s = tl.arange(0, BLOCK_S)
    a = tl.program_id(1) * BLOCK_A + tl.arange(0, BLOCK_A)
    inside = a < size
    source = (row * positions + s)[:, None]
    tile = (s < positions)[:, None] & inside[None, :]
    key = tl.load(keys + source * size + a[None, :], mask=tile, other=0.0).to(tl.float32)
    # e^2(q + k) as a product: the exponential of a key is computed once for all steps, that of a query once for all
    # keys. Beyond LIMIT tanh is 1 to the last digit, unless both q and k are that large and cancel.
    exp_key = tl.exp(2.0 * tl.minimum(tl.maximum(key, -LIMIT), LIMIT))
    v_part = tl.load(v + a, mask=inside, other=0.0).to(tl.float32)
    sum_r = tl.zeros([BLOCK_S, BLOCK_A], tl.float32)
    sum_derivative = tl.zeros([BLOCK_S, BLOCK_A], tl.float32)
    for t in range(steps):
        step_row = t * batch + row
        query = tl.load(queries + step_row * size + a, mask=inside, other=0.0).to(tl.float32)
        exp_query = tl.exp(2.0 * tl.minimum(tl.maximum(query, -LIMIT), LIMIT))
        d_energy = tl.load(d_energies + step_row * positions + s, mask=s < positions, other=0.0)[:, None]
        r = reciprocal(1.0 + exp_query[None, :] * exp_key)
        sum_r += d_energy * r
        sum_derivative += d_energy * (r - r * r)
    d_key = 4.0 * v_part[None, :] * sum_derivative
    tl.store(d_keys + source * size + a[None, :], d_key.to(d_keys.dtype.element_ty), mask=tile)
    tl.store(d_v + row * size + a, -2.0 * tl.sum(sum_r, 0), mask=inside)
