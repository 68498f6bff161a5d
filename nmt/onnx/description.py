"""The content of model.json: files, names and shapes, special ids, and how to translate with the graphs."""

from typing import Any

from nmt.data.symbols import BOS, EOS, PAD, UNK
from nmt.data.tokenizer import Tokenizer
from nmt.data.tokenizer.subwords import Subwords
from nmt.onnx.graphs import NEXT, Graph
from nmt.onnx.layout import Part

DESCRIPTION, ENCODER, DECODER = "model.json", "encoder.onnx", "decoder.onnx"
_FORMAT = 1  # of model.json and of the graphs' names
_USE = (
    "Tokenize a line with the SentencePiece model tokenizer.src; where sentencepiece_ids is not empty, id i of it is "
    "sentencepiece_ids[i] here. Append eos.",
    "Pad the lines of a batch with pad; run the encoder once. src_lengths counts eos.",
    "Run the decoder with tokens = bos, and give it the encoder's outputs by their names.",
    "log_probs are those of the next token, weights what it attended to. Choose tokens, never pad or bos; run the "
    "decoder again with them, the same source, and the new state: the output next_X is the next input X.",
    "A line ends with eos, or after search.max_length tokens; null: twice its source length and ten more. Decode with "
    "tokenizer.tgt.",
    "For a beam of K give each line K rows of every input, and reorder the rows of the state as hypotheses are chosen.",
)


def describe(encoder: Graph, decoder: Graph, tokenizer: Tokenizer, about: dict[str, Any]) -> dict[str, Any]:
    """The content of model.json. about: fields that describe the model."""
    inputs = {part.name for part in decoder.inputs}
    state = [part.name for part in decoder.outputs if part.name.removeprefix(NEXT) in inputs]
    return {
        "format": _FORMAT,
        **about,
        "encoder": _graph(ENCODER, encoder),
        "decoder": {**_graph(DECODER, decoder), "state": {name.removeprefix(NEXT): name for name in state}},
        "special_ids": {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS},
        "tokenizer": {
            "src": _subwords(tokenizer.src, "joint" if tokenizer.src is tokenizer.tgt else "src"),
            "tgt": _subwords(tokenizer.tgt, "joint" if tokenizer.src is tokenizer.tgt else "tgt"),
        },
        "use": list(_USE),
    }


def _graph(file: str, graph: Graph) -> dict[str, Any]:
    return {
        "file": file,
        "inputs": {part.name: _part(part) for part in graph.inputs},
        "outputs": {part.name: _part(part) for part in graph.outputs},
    }


def _part(part: Part) -> dict[str, Any]:
    return {"type": str(part.dtype).removeprefix("torch."), "shape": list(part.shape)}


def _subwords(subwords: Subwords, name: str) -> dict[str, Any]:
    return {"file": f"tokenizer/{name}.model", "vocabulary": len(subwords), "sentencepiece_ids": subwords.renumbered}
