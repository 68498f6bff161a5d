"""From parallel text to batches of ids: symbols, tokenizer, binarized corpus, batches."""
