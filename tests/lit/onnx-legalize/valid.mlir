// RUN: esc-opt %s -p onnx-legalize | filecheck %s

// Everything that may stand at the end of the onnx level.
// CHECK-LABEL: func.func @main
func.func @main(%x : tensor<1x2x4x4xf32>, %v : tensor<1x4xf32>) -> (tensor<1x4xf32>, tensor<1x4x1x1xf32>) {
  %w = onnx.Constant {value = #blob.dense<2x2x1x1xi8, [1, 2, 3, 4]>} : tensor<2x2x1x1xi8>
  %d = onnx.DequantizeLinear %w {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [0]>} : (tensor<2x2x1x1xi8>) -> tensor<2x2x1x1xf32>
  %0 = onnx.QuantizeLinear %x {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [3]>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xi8>
  %1 = onnx.DequantizeLinear %0 {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [3]>} : (tensor<1x2x4x4xi8>) -> tensor<1x2x4x4xf32>
  %2 = onnx.Conv %1, %d {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %3 = onnx.Relu %2 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %4 = onnx.Add %3, %1 : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %5 = onnx.Concat %3, %4 {axis = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x4x4x4xf32>
  %6 = onnx.Slice %5 {starts = array<i64: 0, 0>, ends = array<i64: 4, 4>, axes = array<i64: 2, 3>, steps = array<i64: 2, 2>} : (tensor<1x4x4x4xf32>) -> tensor<1x4x2x2xf32>
  %7 = onnx.Pad %6 {pads = array<i64: 0, 0, 1, 1, 0, 0, 1, 1>} : (tensor<1x4x2x2xf32>) -> tensor<1x4x4x4xf32>
  %8 = onnx.MaxPool %7 {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x4x4x4xf32>) -> tensor<1x4x2x2xf32>
  %9 = onnx.AveragePool %8 {kernel_shape = array<i64: 2, 2>} : (tensor<1x4x2x2xf32>) -> tensor<1x4x1x1xf32>
  %10 = onnx.Reshape %9 {shape = array<i64: 1, 4>} : (tensor<1x4x1x1xf32>) -> tensor<1x4xf32>
  %11 = onnx.Softmax %10 {axis = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %12 = onnx.Reshape %v {shape = array<i64: 1, 4, 1, 1>} : (tensor<1x4xf32>) -> tensor<1x4x1x1xf32>
  %13 = onnx.Clip %12 {min = -1.0 : f32, max = 1.0 : f32} : (tensor<1x4x1x1xf32>) -> tensor<1x4x1x1xf32>
  // CHECK: func.return
  func.return %11, %13 : tensor<1x4xf32>, tensor<1x4x1x1xf32>
}
