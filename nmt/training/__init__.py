"""Training: the loop, the optimizer, gradients, logging of metrics, and checkpoints."""
