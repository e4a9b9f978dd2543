"""ONNX export: a module of the `esc` dialect as a plain ONNX model with QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

from escc.onnx_export.exporter import export_model

__all__ = ["export_model"]
