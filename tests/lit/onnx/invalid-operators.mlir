// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main() {
  // CHECK: op 'onnx.Constant': result must be tensor<2xf32>, found tensor<3xf32>
  %0 = onnx.Constant {value = #blob.dense<2xf32, [1.0, 2.0]>} : tensor<3xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Identity': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Identity %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Dropout': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Dropout %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Relu': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Relu %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.LeakyRelu': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.LeakyRelu %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Clip': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Clip %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Sigmoid': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Sigmoid %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.HardSigmoid': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.HardSigmoid %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.HardSwish': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.HardSwish %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Tanh': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Tanh %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Elu': result must be tensor<1x4x8x8xf32>, found tensor<1x4x8x7xf32>
  %0 = onnx.Elu %x : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x7xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xi8>) {
  // CHECK: op 'onnx.Relu': input has type tensor<1x4xi8>; requires elements of f32
  %0 = onnx.Relu %x : (tensor<1x4xi8>) -> tensor<1x4xi8>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Sub': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Sub %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Mul': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Mul %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Div': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Div %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %p : tensor<3xf32>) {
  // CHECK: scale has shape [3]; requires one value per channel of [1, 4, 8, 8]
  %0 = onnx.BatchNormalization %x, %p, %p, %p, %p : (tensor<1x4x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>, %y : tensor<3x2xf32>) {
  // CHECK: op 'onnx.MatMul': shapes [1,4] and [3,2] do not multiply
  %0 = onnx.MatMul %x, %y : (tensor<1x4xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>) {
  // CHECK: op 'onnx.GlobalAveragePool': input has shape [1,4]; requires 4 dimensions [N,C,H,W]
  %0 = onnx.GlobalAveragePool %x : (tensor<1x4xf32>) -> tensor<1x4x1x1xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4xf32>) {
  // CHECK: op 'onnx.GlobalMaxPool': input has shape [1,4]; requires 4 dimensions [N,C,H,W]
  %0 = onnx.GlobalMaxPool %x : (tensor<1x4xf32>) -> tensor<1x4x1x1xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.ReduceMean': axes=[2,2] are not distinct
  %0 = onnx.ReduceMean %x {axes = array<i64: 2, 2>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x1x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<1x4x7x8xf32>) {
  // CHECK: operands [1,4,8,8], [1,4,7,8] do not concatenate along axis 1
  %0 = onnx.Concat %x, %y {axis = 1 : i64} : (tensor<1x4x8x8xf32>, tensor<1x4x7x8xf32>) -> tensor<1x8x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: pads=[0,0,1,1]; requires 8 non-negative integers
  %0 = onnx.Pad %x {pads = array<i64: 0, 0, 1, 1>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x9x9xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Flatten': axis=5 outside rank 4
  %0 = onnx.Flatten %x {axis = 5 : i64} : (tensor<1x4x8x8xf32>) -> tensor<256x1xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: axes=[1] of shape [1,4,8,8]; requires extent 1
  %0 = onnx.Squeeze %x {axes = array<i64: 1>} : (tensor<1x4x8x8xf32>) -> tensor<1x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>) {
  // CHECK: op 'onnx.Unsqueeze': axes=5 outside rank 5
  %0 = onnx.Unsqueeze %x {axes = array<i64: 5>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8x1xf32>
  func.return
}
