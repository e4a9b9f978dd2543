// RUN: esc-opt %s -p onnx-canonicalize | filecheck %s
// What looks like a pattern but is none stays as it is.

// The other use needs the values before the normalisation: a depthwise 1x1 Conv of its own.
// CHECK-LABEL: func.func @shared
func.func @shared(%x : tensor<1x2x4x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) {
  %w = onnx.Constant {value = #blob.dense<2x2x1x1xf32, [1.0, 2.0, 3.0, 4.0]>} : tensor<2x2x1x1xf32>
  %s = onnx.Constant {value = #blob.dense<2xf32, [2.0, 2.0]>} : tensor<2xf32>
  %v = onnx.Constant {value = #blob.dense<2xf32, [1.0, 1.0]>} : tensor<2xf32>
  // CHECK: [[C:%.*]] = onnx.Conv %x
  // CHECK: [[B:%.*]] = onnx.Conv [[C]], {{.*}}group = 2 : i64
  // CHECK-NEXT: func.return [[C]], [[B]]
  %0 = onnx.Conv %x, %w {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %1 = onnx.BatchNormalization %0, %s, %s, %s, %v : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  func.return %0, %1 : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>
}

// A border of ones is no padding of the Conv.
// CHECK-LABEL: func.func @border
func.func @border(%x : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = onnx.Constant {value = #blob.dense<2x1x3x3xf32, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]>} : tensor<2x1x3x3xf32>
  // CHECK: [[P:%.*]] = onnx.Pad %x
  // CHECK-NEXT: onnx.Conv [[P]]
  %0 = onnx.Pad %x {pads = array<i64: 0, 0, 1, 1, 0, 0, 1, 1>, constant_value = 1.0 : f32} : (tensor<1x2x4x4xf32>) -> tensor<1x2x6x6xf32>
  %1 = onnx.Conv %0, %w {kernel_shape = array<i64: 3, 3>, group = 2 : i64} : (tensor<1x2x6x6xf32>, tensor<2x1x3x3xf32>) -> tensor<1x2x4x4xf32>
  func.return %1 : tensor<1x2x4x4xf32>
}

// Rows and columns swapped move data; a product of two activations is no scaling; a bound of 6 is no Relu.
// CHECK-LABEL: func.func @others
func.func @others(%x : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: onnx.Transpose %x {perm = array<i64: 0, 1, 3, 2>}
  // CHECK-NEXT: onnx.Mul
  // CHECK-NEXT: onnx.Clip %{{.*}} {min = 0.000000e+00 : f32, max = 6.000000e+00 : f32}
  // CHECK-NEXT: func.return
  %0 = onnx.Transpose %x {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %1 = onnx.Mul %0, %x : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %2 = onnx.Clip %1 {min = 0.0 : f32, max = 6.0 : f32} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}
