// RUN: esc-opt %s -p esc-legalize | filecheck %s
// Dense, decomposed, post operations; the host at both ends.

// CHECK: esc.softmax
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x1x2x2xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  %a = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %a {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %i = esc.coeff_combine %1 {coefficients = #blob.dense<1x2x2xi8, [1, 0, -1, 1]>, ic_shift = 2 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x4x4x1x2xi32>
  %b = esc.basis_conv2d %i {basis = #blob.dense<2x2x2xi8, [1, 2, 3, 4, 5, 6, 7, 8]>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>} : tensor<1x4x4x1x2xi32> -> tensor<1x2x2x1xi32>
  %2 = esc.requantize %b {bias = #blob.dense<1xi32, [0]>, mult = #blob.dense<1xi32, [1]>, shift = #blob.dense<1xui8, [3]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x2x2x1xi32> -> tensor<1x2x2x1x!esc.q<i8, 1.0>>
  %3 = esc.dequantize %2 : tensor<1x2x2x1x!esc.q<i8, 1.0>> -> tensor<1x1x2x2xf32>
  %4 = esc.softmax %3 {axis = 1 : i64} : tensor<1x1x2x2xf32> -> tensor<1x1x2x2xf32>
  func.return %4 : tensor<1x1x2x2xf32>
}
