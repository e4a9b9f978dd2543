// RUN: esc-opt %s -p onnx-canonicalize --print-debuginfo | filecheck %s

// BatchNormalization and Mul fold into the Conv before them; names of all are kept.
// CHECK-LABEL: func.func @into_producer
func.func @into_producer(%x : tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: onnx.Constant {value = #blob.dense<2x1x1x1xf32, [2.0, 12.0]>}
  // CHECK-NEXT: onnx.Constant {value = #blob.dense<2xf32, [-6.0, -8.0]>}
  // CHECK-NEXT: onnx.Conv %x, %{{.*}}, %{{.*}} {kernel_shape = array<i64: 1, 1>} : {{.*}} loc(fused["conv", "bn", "mul"])
  // CHECK-NEXT: func.return
  %w = onnx.Constant {value = #blob.dense<2x1x1x1xf32, [1.0, 3.0]>} : tensor<2x1x1x1xf32> loc("w")
  %one = onnx.Constant {value = #blob.dense<2xf32, [1.0, 1.0]>} : tensor<2xf32>
  %m = onnx.Constant {value = #blob.dense<2xf32, [4.0, 3.0]>} : tensor<2xf32>
  %v = onnx.Constant {value = #blob.dense<2xf32, [0.75, 0.75]>} : tensor<2xf32>
  %0 = onnx.Conv %x, %w {kernel_shape = array<i64: 1, 1>} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32> loc("conv")
  %1 = onnx.BatchNormalization %0, %one, %one, %m, %v {epsilon = 0.25 : f32} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32> loc("bn")
  %c = onnx.Constant {value = #blob.dense<2x1x1xf32, [2.0, 4.0]>} : tensor<2x1x1xf32>
  %2 = onnx.Mul %1, %c : (tensor<1x2x4x4xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("mul")
  func.return %2 : tensor<1x2x4x4xf32>
}

// A shift cannot pass the padding of the next Conv: a depthwise 1x1 Conv stays. A factor can.
// CHECK-LABEL: func.func @before_padding
func.func @before_padding(%x : tensor<1x1x4x4xf32>) -> (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) {
  // CHECK: onnx.Conv %x, {{.*}} loc("add")
  // CHECK: onnx.Conv {{.*}} loc("padded")
  // CHECK: onnx.Constant {value = #blob.dense<1x1x3x3xf32, [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]>}
  // CHECK: onnx.Conv %x, {{.*}} loc(fused["scaled", "mul"])
  %w = onnx.Constant {value = #blob.dense<1x1x3x3xf32, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]>} : tensor<1x1x3x3xf32>
  %c = onnx.Constant {value = #blob.dense<f32, [3.0]>} : tensor<f32>
  %0 = onnx.Add %x, %c : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32> loc("add")
  %1 = onnx.Conv %0, %w {kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x1x4x4xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x4x4xf32> loc("padded")
  %2 = onnx.Mul %x, %c : (tensor<1x1x4x4xf32>, tensor<f32>) -> tensor<1x1x4x4xf32> loc("mul")
  %3 = onnx.Conv %2, %w {kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x1x4x4xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x4x4xf32> loc("scaled")
  func.return %1, %3 : tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>
}

// The difference of two activations is a sum.
// CHECK-LABEL: func.func @difference
func.func @difference(%x : tensor<1x1x2x2xf32>, %y : tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> {
  // CHECK-NEXT: onnx.Constant {value = #blob.dense<1x1x1x1xf32, [-1.0]>}
  // CHECK: onnx.Conv %y
  // CHECK: onnx.Add %x, %{{.*}} loc("sub")
  %0 = onnx.Sub %x, %y : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> loc("sub")
  func.return %0 : tensor<1x1x2x2xf32>
}
