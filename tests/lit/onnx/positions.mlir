// RUN: esc-opt %s | esc-opt | filecheck %s
// Values at other positions.

func.func @main(%x : tensor<1x8x2x2xf32>) -> tensor<1x2x3x2xf32> {
  // CHECK: onnx.DepthToSpace %x {blocks = array<i64: 2, 2>} : (tensor<1x8x2x2xf32>) -> tensor<1x2x4x4xf32>
  %0 = onnx.DepthToSpace %x {blocks = array<i64: 2, 2>} : (tensor<1x8x2x2xf32>) -> tensor<1x2x4x4xf32>
  // CHECK: onnx.Take %0 {rows = array<i64: 0, 0, 3>, columns = array<i64: 2, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x3x2xf32>
  %1 = onnx.Take %0 {rows = array<i64: 0, 0, 3>, columns = array<i64: 2, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x3x2xf32>
  func.return %1 : tensor<1x2x3x2xf32>
}
