"""Initialization of the weights: the published methods, and Glorot's."""

from enum import Enum

import torch
from torch import nn

from nmt.attention.scores import AdditiveAttention
from nmt.data.symbols import PAD
from nmt.layers.cells import Cell, LSTMCell
from nmt.layers.normalized_cells import BlockNorm
from nmt.layers.transformer import StackedLinear


class Initialization(Enum):
    """The values of ``model.initialization``."""

    bahdanau = "bahdanau"
    luong = "luong"
    xavier = "xavier"


@torch.no_grad()
def initialize(model: nn.Module, initialization: Initialization) -> None:
    """Sets every weight of `model` from torch's global random state.

    bahdanau: recurrent matrices orthogonal, W_a, U_a ~ N(0, 0.001^2), v_a and biases 0, the rest ~ N(0, 0.01^2).
      # Bahdanau et al. (2015), B.1
    luong: everything ~ U[-0.1, 0.1].  # Luong et al. (2015), 4.1
    xavier: matrices Glorot uniform, recurrent ones orthogonal, embeddings ~ N(0, 1 / width), biases 0.
    The scales of layer normalization are 1 in all of them.
    """
    match initialization:
        case Initialization.bahdanau:
            _bahdanau(model)
        case Initialization.luong:
            for parameter in model.parameters():
                parameter.uniform_(-0.1, 0.1)
        case Initialization.xavier:
            _xavier(model)
        case _:
            raise ValueError(
                f"model.initialization={initialization}: legal are {', '.join(i.value for i in Initialization)}"
            )
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight[PAD].zero_()
        if isinstance(module, nn.LayerNorm | BlockNorm):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, LSTMCell) and initialization is not Initialization.luong:
            module.open_forget_gate()


def _bahdanau(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0.0, 0.01)
        else:
            parameter.zero_()
    for module in model.modules():
        if isinstance(module, Cell):
            _orthogonal(module)
        if isinstance(module, AdditiveAttention):
            module.query.weight.normal_(0.0, 0.001)
            module.key.weight.normal_(0.0, 0.001)


def _xavier(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            parameter.zero_()
    for module in model.modules():
        if isinstance(module, Cell):
            _orthogonal(module)
        if isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, module.embedding_dim**-0.5)
        if isinstance(module, StackedLinear):
            for matrix in module.weight.chunk(module.count):
                nn.init.xavier_uniform_(matrix)
        if isinstance(module, AdditiveAttention):
            module.v.uniform_(-(module.size**-0.5), module.size**-0.5)


def _orthogonal(cell: Cell) -> None:
    for block in cell.weight.split(cell.size):
        nn.init.orthogonal_(block)
