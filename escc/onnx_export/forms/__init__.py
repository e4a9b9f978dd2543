"""Operations of level `esc` as nodes of ONNX; each operation names its form."""
