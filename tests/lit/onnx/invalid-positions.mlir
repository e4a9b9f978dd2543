// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x6x2x2xf32>) {
  %0 = onnx.DepthToSpace %x {blocks = array<i64: 2, 2>} : (tensor<1x6x2x2xf32>) -> tensor<1x1x4x4xf32>
  func.return
}
// CHECK: blocks=[2, 2] do not divide 6 channels

// -----

func.func @main(%x : tensor<1x6x2x2xf32>) {
  %0 = onnx.Take %x {rows = array<i64: 0, 2>, columns = array<i64: 0>} : (tensor<1x6x2x2xf32>) -> tensor<1x6x2x1xf32>
  func.return
}
// CHECK: rows=[0, 2] are not all of [0, 2)
