// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Max': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Max %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Min': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Min %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Pow': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Pow %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Expression': expression: 'Unknown' is unknown; requires one of Abs, Acos,
  %0 = onnx.Expression %x {expression = "Unknown(x)"} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Expression': expression 'Mul(x' cannot be read
  %0 = onnx.Expression %x {expression = "Mul(x"} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Table': table has type tensor<2xf32>; requires 256 elements of f32
  %0 = onnx.Table %x {table = #blob.dense<2xf32, [1.0, 2.0]>, scale = 0.5 : f32, signed = true} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>) {
  // CHECK: op 'onnx.ArgMax': ArgMax axis 2 is outside rank 2
  %0 = onnx.ArgMax %x {axis = 2 : i64} : (tensor<1x4xf32>) -> tensor<1xi64>
  func.return
}
