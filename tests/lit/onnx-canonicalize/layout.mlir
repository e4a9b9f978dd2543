// RUN: esc-opt %s -p onnx-canonicalize --print-debuginfo | filecheck %s

// A region in NHWC between two transposes becomes NCHW.
// CHECK-LABEL: func.func @channels_last
func.func @channels_last(%x : tensor<1x2x4x4xf32>) -> tensor<1x4x5x4xf32> {
  // CHECK-NEXT: onnx.Relu %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("relu")
  // CHECK-NEXT: onnx.Concat %{{.*}} {axis = 1 : i64} : {{.*}} loc("concat")
  // CHECK-NEXT: onnx.Pad %{{.*}} {pads = array<i64: 0, 0, 1, 0, 0, 0, 0, 0>} : {{.*}} loc("pad")
  // CHECK-NEXT: func.return
  %0 = onnx.Transpose %x {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x4x2xf32> loc("to")
  %1 = onnx.Relu %0 : (tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32> loc("relu")
  %2 = onnx.Concat %1, %0 {axis = 3 : i64} : (tensor<1x4x4x2xf32>, tensor<1x4x4x2xf32>) -> tensor<1x4x4x4xf32> loc("concat")
  %3 = onnx.Pad %2 {pads = array<i64: 0, 1, 0, 0, 0, 0, 0, 0>} : (tensor<1x4x4x4xf32>) -> tensor<1x5x4x4xf32> loc("pad")
  %4 = onnx.Transpose %3 {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x5x4x4xf32>) -> tensor<1x4x5x4xf32> loc("back")
  func.return %4 : tensor<1x4x5x4xf32>
}

// A transpose that moves only axes of extent 1 is no transpose.
// CHECK-LABEL: func.func @vector
func.func @vector(%x : tensor<1x2x1x1xf32>) -> tensor<1x2xf32> {
  // CHECK-NEXT: onnx.Reshape %x {shape = array<i64: 1, 2>}
  // CHECK-NEXT: func.return
  %0 = onnx.Transpose %x {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x2x1x1xf32>) -> tensor<1x1x1x2xf32> loc("nhwc")
  %1 = onnx.Squeeze %0 {axes = array<i64: 1, 2>} : (tensor<1x1x1x2xf32>) -> tensor<1x2xf32> loc("squeeze")
  func.return %1 : tensor<1x2xf32>
}
