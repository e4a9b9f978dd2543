// RUN: esc-opt %s -p onnx-canonicalize --print-debuginfo | filecheck %s

// CHECK-LABEL: func.func @nothing
func.func @nothing(%x : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: onnx.Relu %x : {{.*}} loc("clip")
  // CHECK-NEXT: func.return
  %0 = onnx.Identity %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("id")
  %1 = onnx.Dropout %0 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("drop")
  %2 = onnx.Clip %1 {min = 0.0 : f32} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("clip")
  %3 = onnx.Clip %2 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("unbounded")
  %4 = onnx.Pad %3 {pads = array<i64: 0, 0, 0, 0, 0, 0, 0, 0>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("pad")
  func.return %4 : tensor<1x2x4x4xf32>
}

// CHECK-LABEL: func.func @slices
func.func @slices(%x : tensor<1x2x8x8xf32>) -> tensor<1x2x2x4xf32> {
  // CHECK-NEXT: onnx.Slice %x {starts = array<i64: 1, 0>, ends = array<i64: 6, 7>, axes = array<i64: 2, 3>, steps = array<i64: 4, 2>} : {{.*}} loc(fused["b", "a"])
  %0 = onnx.Slice %x {starts = array<i64: 1>, ends = array<i64: 8>, axes = array<i64: 2>, steps = array<i64: 2>} : (tensor<1x2x8x8xf32>) -> tensor<1x2x4x8xf32> loc("a")
  %1 = onnx.Slice %0 {starts = array<i64: 0, 0>, ends = array<i64: 4, 8>, axes = array<i64: 2, 3>, steps = array<i64: 2, 2>} : (tensor<1x2x4x8xf32>) -> tensor<1x2x2x4xf32> loc("b")
  func.return %1 : tensor<1x2x2x4xf32>
}

// Constants fold; dequantised 32-bit constants (biases) too, 8-bit ones (weights) do not.
// CHECK-LABEL: func.func @constants
func.func @constants(%x : tensor<1x1x1x1xf32>) -> tensor<1x2x1x1xf32> {
  // CHECK: onnx.Constant {value = #blob.dense<2xf32, [0.5, 1.0]>} : tensor<2xf32>
  // CHECK: onnx.DequantizeLinear %w
  // CHECK-NEXT: onnx.Conv
  %b = onnx.Constant {value = #blob.dense<2xi32, [1, 2]>} : tensor<2xi32>
  %0 = onnx.DequantizeLinear %b {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i32, [0]>, axis = 0 : i64} : (tensor<2xi32>) -> tensor<2xf32>
  %w = onnx.Constant {value = #blob.dense<2x1x1x1xi8, [1, 2]>} : tensor<2x1x1x1xi8>
  %1 = onnx.DequantizeLinear %w {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [0]>} : (tensor<2x1x1x1xi8>) -> tensor<2x1x1x1xf32>
  %2 = onnx.Conv %x, %1, %0 {kernel_shape = array<i64: 1, 1>} : (tensor<1x1x1x1xf32>, tensor<2x1x1x1xf32>, tensor<2xf32>) -> tensor<1x2x1x1xf32>
  func.return %2 : tensor<1x2x1x1xf32>
}
