// RUN: esc-opt %s -p onnx-canonicalize | filecheck %s
// A narrow operand is repeated, and a factor that was repeated is not; the maximum of two maps is a pool of both side by side.

func.func @main(%x : tensor<1x4x2x3xf32>, %m : tensor<1x4x1x1xf32>) -> tensor<1x4x2x3xf32> {
  // CHECK: %[[ROW:.*]] = onnx.Take %m {rows = array<i64: 0>, columns = array<i64: 0, 0, 0>}
  // CHECK-NEXT: %[[MAP:.*]] = onnx.Take %[[ROW]] {rows = array<i64: 0, 0>, columns = array<i64: 0, 1, 2>}
  // CHECK-NEXT: %[[SUM:.*]] = onnx.Add %x, %[[MAP]]
  %0 = onnx.Add %x, %m : (tensor<1x4x2x3xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x2x3xf32>
  // CHECK-NEXT: %[[BOTH:.*]] = onnx.Concat %[[SUM]], %x {axis = 1 : i64}
  // CHECK-NEXT: %[[COLUMNS:.*]] = onnx.DepthToSpace %[[BOTH]] {blocks = array<i64: 1, 2>}
  // CHECK-NEXT: onnx.MaxPool %[[COLUMNS]] {kernel_shape = array<i64: 1, 2>, strides = array<i64: 1, 2>
  %1 = onnx.Max %0, %x : (tensor<1x4x2x3xf32>, tensor<1x4x2x3xf32>) -> tensor<1x4x2x3xf32>
  // CHECK: onnx.Mul %[[FACTOR:.*]], %m
  %2 = onnx.Take %m {rows = array<i64: 0, 0>, columns = array<i64: 0, 0, 0>} : (tensor<1x4x1x1xf32>) -> tensor<1x4x2x3xf32>
  %3 = onnx.Mul %1, %2 : (tensor<1x4x2x3xf32>, tensor<1x4x2x3xf32>) -> tensor<1x4x2x3xf32>
  func.return %3 : tensor<1x4x2x3xf32>
}
