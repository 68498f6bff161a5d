"""Text to ids and back with SentencePiece: one model for both languages or one for each."""

from nmt.data.tokenizer.normalization import Normalization
from nmt.data.tokenizer.subwords import Subwords
from nmt.data.tokenizer.tokenizer import Tokenizer
from nmt.data.tokenizer.train import ModelType, TokenizerOptions, train_tokenizer

__all__ = ["ModelType", "Normalization", "Subwords", "Tokenizer", "TokenizerOptions", "train_tokenizer"]
