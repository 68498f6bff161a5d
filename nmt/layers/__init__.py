"""The layers of the models: cells and the loops over their steps, embeddings, dropout, the loss."""
