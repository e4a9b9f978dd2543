// RUN: esc-opt %s -p onnx-canonicalize --print-debuginfo | filecheck %s

// Flatten, Gemm, Relu, MatMul, Add: two Conv, the first of the size of the map; Reshape sinks to the output.
// CHECK-LABEL: func.func @flatten
func.func @flatten(%x : tensor<1x2x1x2xf32>) -> tensor<1x1xf32> {
  // CHECK: onnx.Constant {value = #blob.dense<1x2x1x2xf32, [1.0, 2.0, 3.0, 4.0]>} : tensor<1x2x1x2xf32> loc("w")
  // CHECK: onnx.Conv %x, %{{.*}} {kernel_shape = array<i64: 1, 2>} : {{.*}} loc(fused["gemm", "flatten"])
  // CHECK-NEXT: onnx.Relu {{.*}} loc("relu")
  // CHECK: onnx.Conv %{{.*}} {kernel_shape = array<i64: 1, 1>} : {{.*}} loc(fused["matmul", "add"])
  // CHECK-NEXT: onnx.Reshape %{{.*}} {shape = array<i64: 1, 1>}
  // CHECK-NEXT: func.return
  %w = onnx.Constant {value = #blob.dense<1x4xf32, [1.0, 2.0, 3.0, 4.0]>} : tensor<1x4xf32> loc("w")
  %k = onnx.Constant {value = #blob.dense<1x1xf32, [2.0]>} : tensor<1x1xf32>
  %b = onnx.Constant {value = #blob.dense<1xf32, [7.0]>} : tensor<1xf32>
  %0 = onnx.Flatten %x : (tensor<1x2x1x2xf32>) -> tensor<1x4xf32> loc("flatten")
  %1 = onnx.Gemm %0, %w {transB = 1 : i64} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x1xf32> loc("gemm")
  %2 = onnx.Relu %1 : (tensor<1x1xf32>) -> tensor<1x1xf32> loc("relu")
  %3 = onnx.MatMul %2, %k : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32> loc("matmul")
  %4 = onnx.Add %3, %b : (tensor<1x1xf32>, tensor<1xf32>) -> tensor<1x1xf32> loc("add")
  func.return %4 : tensor<1x1xf32>
}

// 8-bit weights stay behind DequantizeLinear, also through Flatten and a transposed layout.
// CHECK-LABEL: func.func @quantised
func.func @quantised(%x : tensor<1x2x1x2xf32>) -> tensor<1x1xf32> {
  // CHECK: onnx.Constant {value = #blob.dense<1x2x1x2xi8, [1, 3, 2, 4]>}
  // CHECK-NEXT: onnx.DequantizeLinear {{.*}} -> tensor<1x2x1x2xf32>
  // CHECK-NEXT: onnx.Conv %x, %{{.*}} {kernel_shape = array<i64: 1, 2>}
  %w = onnx.Constant {value = #blob.dense<4x1xi8, [1, 2, 3, 4]>} : tensor<4x1xi8> loc("w")
  %d = onnx.DequantizeLinear %w {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [0]>} : (tensor<4x1xi8>) -> tensor<4x1xf32> loc("dq")
  %t = onnx.Transpose %x {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x2x1x2xf32>) -> tensor<1x1x2x2xf32> loc("nhwc")
  %0 = onnx.Flatten %t : (tensor<1x1x2x2xf32>) -> tensor<1x4xf32> loc("flatten")
  %1 = onnx.MatMul %0, %d : (tensor<1x4xf32>, tensor<4x1xf32>) -> tensor<1x1xf32> loc("matmul")
  func.return %1 : tensor<1x1xf32>
}
