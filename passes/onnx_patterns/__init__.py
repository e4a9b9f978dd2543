"""Rewrite patterns of `onnx-canonicalize`, grouped by what they bring into canonical form."""
