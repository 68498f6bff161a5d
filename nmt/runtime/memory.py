"""Recognizes errors that mean that memory ran out."""

import re

_SAID = re.compile("out of memory|(can't|not enough|to) allocate|not enough memory|ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch, CUDA or cuBLAS means that memory ran out, on the CPU or a GPU."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))
