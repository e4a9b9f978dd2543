// RUN: esc-opt %s -p 'round-parameters{multiplier-bits=4 bias-bits=1}' | filecheck %s
// Multipliers keep four significant bits, the one that overflows takes a bit off its shift; biases become multiples of
// 2^(shift - 32), so of at most half a step.

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x3x4x4xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %a = esc.conv2d %0 {weight = #blob.dense<3x1x1x2xi8, [1, -2, 3, -4, 5, 6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x3xi32>
  // 0x76543210 -> 7.5 * 2^28, 0x7fffffff -> 2^31 = 2^30 with a smaller shift, 100 -> 104.
  // CHECK: esc.requantize {{.*}} {bias = #blob.dense<3xi32, [1008, -1000, 7]>, mult = #blob.dense<3xi32, [2013265920, 1073741824, 104]>, shift = #blob.dense<3xui8, [36, 34, 3]>,
  %1 = esc.requantize %a {bias = #blob.dense<3xi32, [1001, -1001, 7]>, mult = #blob.dense<3xi32, [1985229328, 2147483647, 100]>, shift = #blob.dense<3xui8, [36, 35, 3]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x3xi32> -> tensor<1x4x4x3x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x4x4x3x!esc.q<u8, 0.25>> -> tensor<1x3x4x4xf32>
  func.return %2 : tensor<1x3x4x4xf32>
}
