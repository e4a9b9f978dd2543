// RUN: not esc-opt %s -p quantize 2>&1 | filecheck %s
// Everything that has no counterpart is listed by node name.

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = onnx.Div %x, %x : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("/square")
  %c = onnx.Constant {value = #blob.dense<1x1x1x1xf32, [1.0]>} : tensor<1x1x1x1xf32>
  %1 = onnx.Add %0, %c : (tensor<1x2x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x2x4x4xf32> loc("/shift")
  func.return %1 : tensor<1x2x4x4xf32>
}

// CHECK:      error: {{.*}}node '/square' (Div): cannot be quantised; requires a graph that passed onnx-legalize
// CHECK-NEXT: error: {{.*}}node '/shift' (Add): operand 1 is a constant; requires computed tensors
// CHECK-NEXT: note: run onnx-canonicalize and onnx-legalize before quantize
