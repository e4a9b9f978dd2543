// RUN: esc-opt %s -p drop-dead-channels | filecheck %s
// Channel 0 of %1 is 0, but %2 needs the sum with channel 0 of the input; nothing is dropped and nothing recorded.

// CHECK-LABEL: func.func @main
// CHECK-NOT: float_weights
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  // CHECK: esc.conv2d {{.*}} {weight = #blob.dense<2x1x1x2xi8, [0, 0, 5, 6]>
  %a = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [0, 0, 5, 6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %a {bias = #blob.dense<2xi32, [0, 3]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  // CHECK: esc.add {{.*}} -> tensor<1x4x4x2x!esc.q<u8, 0.75>>
  %2 = esc.add %0, %1 {mult_a = 3 : i64, mult_b = 5 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.75>>
  %3 = esc.dequantize %2 : tensor<1x4x4x2x!esc.q<u8, 0.75>> -> tensor<1x2x4x4xf32>
  func.return %3 : tensor<1x2x4x4xf32>
}
