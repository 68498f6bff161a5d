"""The four ids that are not pieces of text, the mark of a hidden one, and what an unknown piece prints."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
CUT = -1  # in training, in place of a token whose embedding is left out; no id
NAMES = ("<pad>", "<unk>", "<s>", "</s>")
UNK_SURFACE = "⁇"
