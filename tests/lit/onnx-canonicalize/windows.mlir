// RUN: esc-opt %s -p onnx-canonicalize | filecheck %s

// CHECK-LABEL: func.func @global
func.func @global(%x : tensor<1x2x4x6xf32>) -> (tensor<1x2xf32>, tensor<1x2x1x1xf32>, tensor<1x2x4x1xf32>) {
  // CHECK-NEXT: onnx.AveragePool %x {kernel_shape = array<i64: 4, 6>}
  // CHECK-NEXT: onnx.Reshape %{{.*}} {shape = array<i64: 1, 2>}
  // CHECK-NEXT: onnx.MaxPool %x {kernel_shape = array<i64: 4, 6>}
  // CHECK-NEXT: onnx.AveragePool %x {kernel_shape = array<i64: 1, 6>}
  %0 = onnx.ReduceMean %x {axes = array<i64: 2, 3>, keepdims = 0 : i64} : (tensor<1x2x4x6xf32>) -> tensor<1x2xf32>
  %1 = onnx.GlobalMaxPool %x : (tensor<1x2x4x6xf32>) -> tensor<1x2x1x1xf32>
  %2 = onnx.ReduceMean %x {axes = array<i64: 3>} : (tensor<1x2x4x6xf32>) -> tensor<1x2x4x1xf32>
  func.return %0, %1, %2 : tensor<1x2xf32>, tensor<1x2x1x1xf32>, tensor<1x2x4x1xf32>
}

// Pad with 0 folds into AveragePool as counted padding, and into MaxPool after Relu; not into MaxPool of any sign.
// CHECK-LABEL: func.func @pads
func.func @pads(%x : tensor<1x1x4x4xf32>) -> (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) {
  // CHECK: onnx.AveragePool %x {count_include_pad = 1 : i64, kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>}
  // CHECK: onnx.Relu
  // CHECK-NEXT: onnx.MaxPool %{{.*}} {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>}
  // CHECK-NEXT: onnx.MaxPool %{{.*}} {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>}
  %p = onnx.Pad %x {pads = array<i64: 0, 0, 1, 1, 0, 0, 0, 0>} : (tensor<1x1x4x4xf32>) -> tensor<1x1x5x5xf32>
  %0 = onnx.AveragePool %p {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<1x1x5x5xf32>) -> tensor<1x1x2x2xf32>
  %r = onnx.Relu %x : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %q = onnx.Pad %r {pads = array<i64: 0, 0, 1, 1, 0, 0, 0, 0>} : (tensor<1x1x4x4xf32>) -> tensor<1x1x5x5xf32>
  %1 = onnx.MaxPool %q {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<1x1x5x5xf32>) -> tensor<1x1x2x2xf32>
  %2 = onnx.MaxPool %p {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<1x1x5x5xf32>) -> tensor<1x1x2x2xf32>
  func.return %0, %1, %2 : tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>
}
