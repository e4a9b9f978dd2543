"""Operations of level `onnx` as operations of level `esc`; each operation names its form."""
