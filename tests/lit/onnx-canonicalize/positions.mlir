// RUN: esc-opt %s -p onnx-canonicalize | filecheck %s
// Reshapes around a transpose are channels as positions; one choice of rows and columns after another is one.

func.func @main(%x : tensor<1x8x2x3xf32>) -> tensor<1x2x2x2xf32> {
  // CHECK: %[[SPACE:.*]] = onnx.DepthToSpace %x {blocks = array<i64: 2, 2>} : (tensor<1x8x2x3xf32>) -> tensor<1x2x4x6xf32>
  %0 = onnx.Reshape %x {shape = array<i64: 1, 2, 2, 2, 2, 3>} : (tensor<1x8x2x3xf32>) -> tensor<1x2x2x2x2x3xf32>
  %1 = onnx.Transpose %0 {perm = array<i64: 0, 3, 4, 1, 5, 2>} : (tensor<1x2x2x2x2x3xf32>) -> tensor<1x2x2x2x3x2xf32>
  %2 = onnx.Reshape %1 {shape = array<i64: 1, 2, 4, 6>} : (tensor<1x2x2x2x3x2xf32>) -> tensor<1x2x4x6xf32>
  // CHECK-NEXT: onnx.Take %[[SPACE]] {rows = array<i64: 3, 0>, columns = array<i64: 1, 5>}
  %3 = onnx.Take %2 {rows = array<i64: 0, 3>, columns = array<i64: 5, 1, 0>} : (tensor<1x2x4x6xf32>) -> tensor<1x2x2x3xf32>
  %4 = onnx.Take %3 {rows = array<i64: 1, 0>, columns = array<i64: 1, 0>} : (tensor<1x2x2x3xf32>) -> tensor<1x2x2x2xf32>
  func.return %4 : tensor<1x2x2x2xf32>
}
