// RUN: esc-opt %s | esc-opt | filecheck %s
// Every operation prints, parses and verifies; attributes at their default are left out.

// CHECK-LABEL: func.func @window
func.func @window(%x : tensor<1x4x8x8xf32>) -> tensor<1x2x3x3xf32> {
  // CHECK-NEXT: %w = onnx.Constant {value = #blob.dense<2x4x1x1xf32, [1.0, 2.0, 3.0, 4.0, -1.0, -2.0, -3.0, -4.0]>} : tensor<2x4x1x1xf32>
  %w = onnx.Constant {value = #blob.dense<2x4x1x1xf32, [1.0, 2.0, 3.0, 4.0, -1.0, -2.0, -3.0, -4.0]>} : tensor<2x4x1x1xf32>
  %b = onnx.Constant {value = #blob.dense<2xf32, [0.5, -0.5]>} : tensor<2xf32>
  // CHECK: onnx.Conv %x, %w, %b {kernel_shape = array<i64: 1, 1>} : (tensor<1x4x8x8xf32>, tensor<2x4x1x1xf32>, tensor<2xf32>) -> tensor<1x2x8x8xf32>
  %0 = onnx.Conv %x, %w, %b {kernel_shape = array<i64: 1, 1>, strides = array<i64: 1, 1>, group = 1 : i64} : (tensor<1x4x8x8xf32>, tensor<2x4x1x1xf32>, tensor<2xf32>) -> tensor<1x2x8x8xf32>
  // CHECK-NEXT: onnx.MaxPool %{{.*}} {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, ceil_mode = 1 : i64} : (tensor<1x2x8x8xf32>) -> tensor<1x2x4x4xf32>
  %1 = onnx.MaxPool %0 {kernel_shape = array<i64: 3, 3>, strides = array<i64: 2, 2>, ceil_mode = 1 : i64} : (tensor<1x2x8x8xf32>) -> tensor<1x2x4x4xf32>
  // CHECK-NEXT: onnx.AveragePool %{{.*}} {kernel_shape = array<i64: 2, 2>, count_include_pad = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x3x3xf32>
  %2 = onnx.AveragePool %1 {kernel_shape = array<i64: 2, 2>, count_include_pad = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x3x3xf32>
  %v = onnx.Constant {value = #blob.dense<2x1x1x1xf32, [1.0, 2.0]>} : tensor<2x1x1x1xf32>
  %3 = onnx.Conv %2, %v {kernel_shape = array<i64: 1, 1>, group = 2 : i64} : (tensor<1x2x3x3xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x3x3xf32>
  func.return %3 : tensor<1x2x3x3xf32>
}

// CHECK-LABEL: func.func @elementwise
func.func @elementwise(%x : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  // CHECK-NEXT: onnx.Relu %x : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %0 = onnx.Relu %x : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.LeakyRelu %{{.*}} {alpha = 2.000000e-01 : f32}
  %1 = onnx.LeakyRelu %0 {alpha = 0.2 : f32} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Clip %{{.*}} {min = 0.000000e+00 : f32, max = 6.000000e+00 : f32}
  %2 = onnx.Clip %1 {min = 0.0 : f32, max = 6.0 : f32} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Sigmoid
  %3 = onnx.Sigmoid %2 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.HardSigmoid %{{[^ ]*}} {beta = 2.500000e-01 : f32}
  %4 = onnx.HardSigmoid %3 {beta = 0.25 : f32} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.HardSwish
  %5 = onnx.HardSwish %4 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Tanh
  %6 = onnx.Tanh %5 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Elu %{{[^ ]*}} :
  %7 = onnx.Elu %6 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Identity
  %8 = onnx.Identity %7 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Dropout
  %9 = onnx.Dropout %8 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Add
  %10 = onnx.Add %9, %x : (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Sub
  %11 = onnx.Sub %10, %9 : (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %c = onnx.Constant {value = #blob.dense<2x1x1xf32, [2.0, 4.0]>} : tensor<2x1x1xf32>
  // CHECK: onnx.Mul %{{.*}} : (tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) -> tensor<1x2x3x3xf32>
  %12 = onnx.Mul %11, %c : (tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) -> tensor<1x2x3x3xf32>
  // CHECK-NEXT: onnx.Div
  %13 = onnx.Div %12, %c : (tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) -> tensor<1x2x3x3xf32>
  %s = onnx.Constant {value = #blob.dense<2xf32, [1.0, 1.0]>} : tensor<2xf32>
  // CHECK: onnx.BatchNormalization %{{.*}} {epsilon = 1.000000e-03 : f32}
  %14 = onnx.BatchNormalization %13, %s, %s, %s, %s {epsilon = 0.001 : f32} : (tensor<1x2x3x3xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x3x3xf32>
  func.return %14 : tensor<1x2x3x3xf32>
}

// CHECK-LABEL: func.func @movement
func.func @movement(%x : tensor<1x2x4x4xf32>) -> tensor<1x24xf32> {
  // CHECK-NEXT: onnx.Slice %x {starts = array<i64: 0, 1>, ends = array<i64: 4, 4>, axes = array<i64: 2, 3>, steps = array<i64: 2, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x2x3xf32>
  %0 = onnx.Slice %x {starts = array<i64: 0, 1>, ends = array<i64: 4, 4>, axes = array<i64: 2, 3>, steps = array<i64: 2, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x2x3xf32>
  // CHECK-NEXT: onnx.Pad %{{.*}} {pads = array<i64: 0, 1, 0, 0, 0, 1, 0, 0>} : (tensor<1x2x2x3xf32>) -> tensor<1x4x2x3xf32>
  %1 = onnx.Pad %0 {pads = array<i64: 0, 1, 0, 0, 0, 1, 0, 0>} : (tensor<1x2x2x3xf32>) -> tensor<1x4x2x3xf32>
  // CHECK-NEXT: onnx.Transpose %{{.*}} {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x4x2x3xf32>) -> tensor<1x2x3x4xf32>
  %2 = onnx.Transpose %1 {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x4x2x3xf32>) -> tensor<1x2x3x4xf32>
  // CHECK-NEXT: onnx.Unsqueeze %{{.*}} {axes = array<i64: 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x1x2x3x4xf32>
  %3 = onnx.Unsqueeze %2 {axes = array<i64: 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x1x2x3x4xf32>
  // CHECK-NEXT: onnx.Squeeze
  %4 = onnx.Squeeze %3 {axes = array<i64: 1>} : (tensor<1x1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  // CHECK-NEXT: onnx.Flatten %{{[^ ]*}} : (tensor<1x2x3x4xf32>) -> tensor<1x24xf32>
  %5 = onnx.Flatten %4 : (tensor<1x2x3x4xf32>) -> tensor<1x24xf32>
  // CHECK-NEXT: onnx.Reshape %{{.*}} {shape = array<i64: 1, 2, 12>} : (tensor<1x24xf32>) -> tensor<1x2x12xf32>
  %6 = onnx.Reshape %5 {shape = array<i64: 1, 2, 12>} : (tensor<1x24xf32>) -> tensor<1x2x12xf32>
  // CHECK-NEXT: onnx.Concat %{{.*}} {axis = 1 : i64} : (tensor<1x2x12xf32>, tensor<1x2x12xf32>) -> tensor<1x4x12xf32>
  %7 = onnx.Concat %6, %6 {axis = 1 : i64} : (tensor<1x2x12xf32>, tensor<1x2x12xf32>) -> tensor<1x4x12xf32>
  // CHECK-NEXT: onnx.ReduceMean %{{.*}} {axes = array<i64: 2>} : (tensor<1x4x12xf32>) -> tensor<1x4x1xf32>
  %8 = onnx.ReduceMean %7 {axes = array<i64: 2>} : (tensor<1x4x12xf32>) -> tensor<1x4x1xf32>
  func.return %5 : tensor<1x24xf32>
}

// CHECK-LABEL: func.func @classifier
func.func @classifier(%x : tensor<1x3x4x4xf32>) -> tensor<1x2xf32> {
  // CHECK-NEXT: onnx.GlobalAveragePool %x : (tensor<1x3x4x4xf32>) -> tensor<1x3x1x1xf32>
  %0 = onnx.GlobalAveragePool %x : (tensor<1x3x4x4xf32>) -> tensor<1x3x1x1xf32>
  // CHECK-NEXT: onnx.GlobalMaxPool
  %1 = onnx.GlobalMaxPool %0 : (tensor<1x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %2 = onnx.Flatten %1 : (tensor<1x3x1x1xf32>) -> tensor<1x3xf32>
  %k = onnx.Constant {value = #blob.dense<3x2xf32, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]>} : tensor<3x2xf32>
  %m = onnx.Constant {value = #blob.dense<2x2xf32, [1.0, 0.0, 0.0, 1.0]>} : tensor<2x2xf32>
  // CHECK: onnx.MatMul %{{.*}} : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  %3 = onnx.MatMul %2, %k : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  // CHECK-NEXT: onnx.Gemm %{{.*}} {alpha = 5.000000e-01 : f32, transB = 1 : i64} : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  %4 = onnx.Gemm %3, %m {alpha = 0.5 : f32, transB = 1 : i64} : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
  // CHECK-NEXT: onnx.Softmax %{{.*}} {axis = 1 : i64}
  %5 = onnx.Softmax %4 {axis = 1 : i64} : (tensor<1x2xf32>) -> tensor<1x2xf32>
  func.return %5 : tensor<1x2xf32>
}

// CHECK-LABEL: func.func @quantised
func.func @quantised(%x : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: onnx.QuantizeLinear %x {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<ui8, [128]>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8>
  %0 = onnx.QuantizeLinear %x {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<ui8, [128]>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8>
  // CHECK-NEXT: onnx.DequantizeLinear %{{.*}} {scale = #blob.dense<2xf32, [0.5, 0.25]>, zero_point = #blob.dense<2xui8, [128, 0]>} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>
  %1 = onnx.DequantizeLinear %0 {scale = #blob.dense<2xf32, [0.5, 0.25]>, zero_point = #blob.dense<2xui8, [128, 0]>} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>
  func.return %1 : tensor<1x2x4x4xf32>
}
