"""The softmax over the vocabulary and its gradient in Triton: two passes over bf16 logits instead of eight in float32.

Importing this module requires triton, which is installed with torch's packages for CUDA.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
# If triton is installed, the launches of its kernels do not fit its types:
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096  # words at a time
WARPS = 8


@triton.jit
def softmax_rows(
    logits,
    gold,
    normalizer,
    gold_logits,
    gold_share,
    step,
    vocab_size: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program n: row n of logits (N, V), with the stride `step`, gold (N,) -> normalizer (N,), gold_logits (N,); see
    softmax_less_gold_."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    answer = tl.load(gold + row)
    tl.store(gold_logits + row, tl.load(logits + row * step + answer).to(tl.float32))
    highest = tl.full([BLOCK], -3.0e38, tl.float32)  # not -inf: -inf minus -inf is nan
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocab_size, BLOCK):
        here = start + columns
        x = tl.load(logits + row * step + here, mask=here < vocab_size, other=-3.0e38).to(tl.float32)
        higher = tl.maximum(highest, x)
        total = total * tl.exp(highest - higher) + tl.exp(x - higher)
        highest = higher
    top = tl.max(highest, 0)
    lse = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    tl.store(normalizer + row, lse)
    if GRADIENT:  # the reductions above synchronized all threads, so the gold logit has been read
        for start in range(0, vocab_size, BLOCK):
            here = start + columns
            x = tl.load(logits + row * step + here, mask=here < vocab_size, other=0.0).to(tl.float32)
            p = tl.exp(x - lse) - tl.where(here == answer, gold_share, 0.0)
            tl.store(logits + row * step + here, p.to(logits.dtype.element_ty), mask=here < vocab_size)


def softmax_less_gold_(logits: Tensor, gold: Tensor, gold_share: float, gradient: bool) -> tuple[Tensor, Tensor]:
    """logits (N, V), gold (N,) -> normalizers (N,), the log-sum-exp of each row, and gold logits (N,), both float32.

    gradient: the logits are replaced by softmax(logits), minus `gold_share` at the gold word.
    """
    normalizer, gold_logits = torch.empty(2, len(logits), dtype=torch.float32, device=logits.device).unbind(0)
    softmax_rows[(len(logits),)](
        *(logits, gold, normalizer, gold_logits, gold_share, logits.stride(0)),
        vocab_size=logits.shape[1],
        GRADIENT=gradient,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return normalizer, gold_logits
