// RUN: esc-opt %s -p drop-dead-channels | filecheck %s
// Channel 1 of the first convolution is 0 for every input, channel 3 is read by no coefficient, and basis 1 by no channel.

// CHECK-LABEL: func.func @main
// CHECK-SAME: float_weights = 64 : i64
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: [[X:%[a-z0-9]+]] = esc.quantize
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  // CHECK-NEXT: [[A:%[a-z0-9]+]] = esc.conv2d [[X]] {weight = #blob.dense<2x1x1x2xi8, [1, -2, 5, 6]>, {{.*}} -> tensor<1x4x4x2xi32> loc("a")
  %a = esc.conv2d %0 {weight = #blob.dense<4x1x1x2xi8, [1, -2, 0, 0, 5, 6, 7, 8]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x4xi32> loc("a")
  // CHECK-NEXT: [[B:%[a-z0-9]+]] = esc.requantize [[A]] {bias = #blob.dense<2xi32, [9, 3]>, mult = #blob.dense<2xi32, [1, 3]>, shift = #blob.dense<2xui8, [2, 4]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %1 = esc.requantize %a {bias = #blob.dense<4xi32, [9, -5, 3, 4]>, mult = #blob.dense<4xi32, [1, 2, 3, 4]>, shift = #blob.dense<4xui8, [2, 3, 4, 5]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x4xi32> -> tensor<1x4x4x4x!esc.q<u8, 0.5>> loc("a")
  // CHECK-NEXT: [[C:%[a-z0-9]+]] = esc.coeff_combine [[B]] {coefficients = #blob.dense<2x1x2xi8, [1, -1, 0, 1]>, ic_shift = 0 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x1xi32> loc("b")
  %c = esc.coeff_combine %1 {coefficients = #blob.dense<2x2x4xi8, [1, 1, -1, 0, 0, 0, 0, 0, 0, -1, 1, 0, 0, 0, 0, 0]>, ic_shift = 0 : i64, ic_bits = 16 : i64} : tensor<1x4x4x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x2xi32> loc("b")
  // CHECK-NEXT: esc.basis_conv2d [[C]] {basis = #blob.dense<1x1x7xi8, [1, 2, 3, 4, 5, 6, 7]>,
  %b = esc.basis_conv2d %c {basis = #blob.dense<2x1x7xi8, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 3, 0, 3>} : tensor<1x4x4x2x2xi32> -> tensor<1x4x4x2xi32> loc("b")
  %2 = esc.requantize %b {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0>> loc("b")
  %3 = esc.dequantize %2 : tensor<1x4x4x2x!esc.q<i8, 1.0>> -> tensor<1x2x4x4xf32>
  func.return %3 : tensor<1x2x4x4xf32>
}
