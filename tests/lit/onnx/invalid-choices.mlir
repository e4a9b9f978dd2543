// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Equal': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Equal %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Greater': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Greater %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.GreaterOrEqual': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.GreaterOrEqual %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Less': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Less %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.LessOrEqual': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.LessOrEqual %x, %y : (tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

func.func @main(%x : tensor<1x4x8x8xf32>, %y : tensor<3x1x1xf32>) {
  // CHECK: op 'onnx.Where': shapes [1,4,8,8] and [3,1,1] do not broadcast
  %0 = onnx.Where %x, %x, %y : (tensor<1x4x8x8xf32>, tensor<1x4x8x8xf32>, tensor<3x1x1xf32>) -> tensor<1x4x8x8xf32>
  func.return
}
