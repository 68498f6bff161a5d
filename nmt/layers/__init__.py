"""The layers that models are made of: cells and the loops over their steps, embeddings, dropout, the loss."""
