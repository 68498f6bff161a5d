"""Parallel text becomes batches of ids: symbols, tokenizer, binarized corpus, batches."""
