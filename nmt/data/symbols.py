"""The four special ids, the mark of a token that is cut in training, and the text of an unknown piece."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
CUT = -1  # in training, in place of a token whose embedding is zero; not an id
NAMES = ("<pad>", "<unk>", "<s>", "</s>")
UNK_SURFACE = "⁇"
