"""Driver and command lines, ONNX import, compression schemes and reports."""
