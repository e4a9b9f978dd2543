// RUN: not esc-opt %s -p "esc-legalize{target=esc1}" 2>&1 | filecheck %s
// All offenders are listed at once, by node name.

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  // CHECK: error: {{.*}}node '/twice' (conv2d): its result has 2 uses; requires exactly one, an esc.requantize
  // CHECK-NEXT: error: {{.*}}node '/twice' (conv2d): accumulator of channel 1 may reach 2147484{{[0-9]+}}; requires at most 2147483647
  %a = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32> loc("/twice")
  %1 = esc.requantize %a {bias = #blob.dense<2xi32, [7, 2147483647]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.requantize %a {bias = #blob.dense<2xi32, [7, 0]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  // CHECK-NEXT: error: {{.*}}node '/wide' (coeff_combine): its result has 0 uses; requires exactly one, an esc.basis_conv2d
  // CHECK-NEXT: error: {{.*}}node '/wide' (coeff_combine): ic_bits=20; requires 16 of target 'esc1'
  %i = esc.coeff_combine %1 {coefficients = #blob.dense<1x2x2xi8, [1, 0, -1, 1]>, ic_shift = 2 : i64, ic_bits = 20 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x4x4x1x2xi32> loc("/wide")
  // CHECK-NEXT: error: {{.*}}node '/soft' (softmax): Softmax inside the network; requires it between dequantisation and an output
  // CHECK-NEXT: error: {{.*}}op 'esc.quantize': quantises a computed tensor; requires an input of the model
  %3 = esc.dequantize %1 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  %4 = esc.softmax %3 {axis = 1 : i64} : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32> loc("/soft")
  %5 = esc.quantize %4 : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: error: {{.*}}node '/far' (slice): offset 40000; requires [-32768, 32767]
  %6 = esc.slice %2 {offsets = array<i64: 40000, 0, 0>, strides = array<i64: 1, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.25>> loc("/far")
  // CHECK-NEXT: error: {{.*}}node '/float' (Relu): not an operation of the esc level; requires quantize before
  // CHECK-NEXT: note: the model cannot be lowered to target 'esc1' as it stands
  %7 = esc.dequantize %6 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  %8 = onnx.Relu %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("/float")
  func.return %7 : tensor<1x2x4x4xf32>
}
