"""A parallel corpus becomes batches: symbols, corpus, tokenizer, encoded, batches, and the corpus that comes along."""
