// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x4x8x8xf32>, %w : tensor<2x3x1x1xf32>) {
  // CHECK: node '/layer1/Conv' (Conv): group=1 and weight [2,3,1,1] do not fit 4 input channels
  %0 = onnx.Conv %x, %w {kernel_shape = array<i64: 1, 1>} : (tensor<1x4x8x8xf32>, tensor<2x3x1x1xf32>) -> tensor<1x2x8x8xf32> loc("/layer1/Conv")
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %w : tensor<2x4x3x3xf32>) {
  // CHECK: op 'onnx.Conv': dilations=[2, 0]; requires two positive integers
  %0 = onnx.Conv %x, %w {kernel_shape = array<i64: 3, 3>, dilations = array<i64: 2, 0>} : (tensor<1x4x8x8xf32>, tensor<2x4x3x3xf32>) -> tensor<1x2x4x4xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: node 'pool' (MaxPool): result must be tensor<1x4x4x4xf32>, found tensor<1x4x3x3xf32>
  %0 = onnx.MaxPool %x {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x3x3xf32> loc("pool")
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: pads 2 and 2; requires pads smaller than the kernel extent 2
  %0 = onnx.AveragePool %x {kernel_shape = array<i64: 2, 2>, pads = array<i64: 2, 2, 2, 2>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x11x11xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<1x4x7x8xf32>) {
  // CHECK: op 'onnx.Add': shapes [1,4,8,8] and [1,4,7,8] do not broadcast
  %0 = onnx.Add %x, %y : (tensor<1x4x8x8xf32>, tensor<1x4x7x8xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: slice 2:2:1 of axis 3 with 8 elements; requires 0 <= start < end <= size
  %0 = onnx.Slice %x {starts = array<i64: 2>, ends = array<i64: 2>, axes = array<i64: 3>, steps = array<i64: 1>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x1xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: cannot reshape [1,4,8,8] to [1,255]
  %0 = onnx.Reshape %x {shape = array<i64: 1, 255>} : (tensor<1x4x8x8xf32>) -> tensor<1x255xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: perm=[0,1,1,2] is no permutation of 4 axes
  %0 = onnx.Transpose %x {perm = array<i64: 0, 1, 1, 2>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x4x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: scale [3] is neither a scalar nor one value per index of axis 1
  %0 = onnx.QuantizeLinear %x {scale = #blob.dense<3xf32, [1.0, 1.0, 1.0]>, zero_point = #blob.dense<3xi8, [0, 0, 0]>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xi8>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xi8>) {
  // CHECK: input tensor<1x4xi8> and zero_point tensor<ui8>; requires both of i8, ui8 or i32
  %0 = onnx.DequantizeLinear %x {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<ui8, [0]>} : (tensor<1x4xi8>) -> tensor<1x4xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>) {
  // CHECK: axis=2 outside rank 2
  %0 = onnx.Softmax %x {axis = 2 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>, %w : tensor<3x4xf32>) {
  // CHECK: shapes [1,4] and [3,4] do not multiply
  %0 = onnx.Gemm %x, %w : (tensor<1x4xf32>, tensor<3x4xf32>) -> tensor<1x3xf32>
  func.return
}
