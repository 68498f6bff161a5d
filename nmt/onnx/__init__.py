"""Export of a model as two ONNX graphs, encoder and decoder step, for programs without torch."""
