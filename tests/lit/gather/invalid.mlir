// RUN: esc-opt %s -p esc-legalize --verify-diagnostics 2>&1 | filecheck %s

func.func @main(%i: tensor<1x2x40x40xf32>) -> tensor<1x1x40x40xf32> {
  %x = esc.quantize %i : tensor<1x2x40x40xf32> -> tensor<1x40x40x2x!esc.q<u8, 0.5>>
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<1x1x1x2xi8, [1, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, banks = 31 : i64, bundle = 2 : i64, spread = 0 : i64} : tensor<1x40x40x2x!esc.q<u8, 0.5>> -> tensor<1x40x40x1xi32>
  %1 = esc.requantize %0 {bias = #blob.dense<1xi32, [7]>, mult = #blob.dense<1xi32, [1073741824]>, shift = #blob.dense<1xui8, [30]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x40x40x1xi32> -> tensor<1x40x40x1x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x40x40x1x!esc.q<u8, 0.25>> -> tensor<1x1x40x40xf32>
  func.return %2 : tensor<1x1x40x40xf32>
}
// CHECK: banks 31; requires at most 30, the multipliers of a block
