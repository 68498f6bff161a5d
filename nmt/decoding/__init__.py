"""From a trained model to text: search over pieces, and lines in, lines out."""
