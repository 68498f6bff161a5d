"""The four ids that are not pieces of text, and what an unknown piece prints."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
NAMES = ("<pad>", "<unk>", "<s>", "</s>")
UNK_SURFACE = "⁇"
