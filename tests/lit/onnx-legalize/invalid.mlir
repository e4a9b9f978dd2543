// RUN: not esc-opt %s -p onnx-legalize 2>&1 | filecheck %s

// All offenders in one run, each by its node name.
func.func @main(%x : tensor<1x2x4x4xf32>, %unused : tensor<1x2x4x4xf32>) -> tensor<1x4x4x2xf32> {
  // CHECK: error: {{.*}}input 'input1' is not used; requires a model that reads its inputs
  // CHECK-NEXT: error: {{.*}}node '/id' (Identity): cannot be brought into canonical form
  %0 = onnx.Identity %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("/id")
  // CHECK-NEXT: error: {{.*}}node '/soft' (Softmax): stands before other operators; requires an output of the model
  %1 = onnx.Softmax %0 {axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("/soft")
  // CHECK-NEXT: error: {{.*}}node '/cat' (Concat): axis=2 unsupported; requires 1 (channels)
  %2 = onnx.Concat %1, %1 {axis = 2 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x8x4xf32> loc("/cat")
  // CHECK-NEXT: error: {{.*}}node '/slice' (Slice): step 2 on axis 1 unsupported; requires axes C (step 1), H, W
  %3 = onnx.Slice %2 {starts = array<i64: 0, 0>, ends = array<i64: 2, 4>, axes = array<i64: 1, 2>, steps = array<i64: 2, 1>} : (tensor<1x2x8x4xf32>) -> tensor<1x1x4x4xf32> loc("/slice")
  // CHECK-NEXT: error: {{.*}}node '/pad' (Pad): pads with 1; requires 0
  %4 = onnx.Pad %3 {pads = array<i64: 0, 1, 0, 0, 0, 0, 0, 0>, constant_value = 1.0 : f32} : (tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> loc("/pad")
  // CHECK-NEXT: error: {{.*}}node '/mul' (Mul): multiplies by a constant that is not one value per channel
  %c = onnx.Constant {value = #blob.dense<1x1x4x1xf32, [1.0, 2.0, 3.0, 4.0]>} : tensor<1x1x4x1xf32>
  %5 = onnx.Mul %4, %c : (tensor<1x2x4x4xf32>, tensor<1x1x4x1xf32>) -> tensor<1x2x4x4xf32> loc("/mul")
  // CHECK-NEXT: error: {{.*}}node '/q' (QuantizeLinear): quantises activations per axis; requires one scale
  %6 = onnx.QuantizeLinear %5 {scale = #blob.dense<2xf32, [0.5, 0.5]>, zero_point = #blob.dense<2xi8, [3, 3]>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xi8> loc("/q")
  // CHECK-NEXT: error: {{.*}}node '/dq' (DequantizeLinear): scale or zero point differs from its QuantizeLinear
  %7 = onnx.DequantizeLinear %6 {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [3]>} : (tensor<1x2x4x4xi8>) -> tensor<1x2x4x4xf32> loc("/dq")
  // CHECK-NEXT: error: {{.*}}node '/conv' (Conv): weight is computed; requires a constant
  %8 = onnx.Conv %x, %7 {kernel_shape = array<i64: 4, 4>, group = 1 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x1x1x1xf32> loc("/conv")
  // CHECK-NEXT: error: {{.*}}node '/nhwc' (Transpose): moves data (perm=[0,2,3,1]); requires transposes that cancel, only relabel the layout or end the model
  %9 = onnx.Transpose %7 {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x2x4x4xf32>) -> tensor<1x4x4x2xf32> loc("/nhwc")
  %10 = onnx.Relu %9 : (tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32>
  // CHECK-NEXT: note: escc --supported-ops lists what is supported
  func.return %10 : tensor<1x4x4x2xf32>
}
