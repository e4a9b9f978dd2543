// RUN: esc-opt %s -p fuse-epilogues | filecheck %s
// A strided slice and channel padding are one movement; cropping and padding back are not, for the border must become zero.

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x4x8x8xf32>) -> (tensor<1x8x4x4xf32>, tensor<1x4x8x8xf32>) {
  // CHECK-NEXT: [[X:%[0-9]+]] = esc.quantize
  %0 = esc.quantize %x : tensor<1x4x8x8xf32> -> tensor<1x8x8x4x!esc.q<u8, 0.5>>
  %1 = esc.slice %0 {offsets = array<i64: 0, 0, 0>, strides = array<i64: 2, 2>} : tensor<1x8x8x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x4x!esc.q<u8, 0.5>> loc("slice")
  // CHECK-NEXT: esc.slice [[X]] {offsets = array<i64: 0, 0, -2>, strides = array<i64: 2, 2>} : tensor<1x8x8x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x8x!esc.q<u8, 0.5>> loc(fused["slice", "pad"])
  %2 = esc.slice %1 {offsets = array<i64: 0, 0, -2>, strides = array<i64: 1, 1>} : tensor<1x4x4x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x8x!esc.q<u8, 0.5>> loc("pad")
  // CHECK-NEXT: [[C:%[0-9]+]] = esc.slice [[X]] {offsets = array<i64: 2, 2, 0>, strides = array<i64: 1, 1>}
  // CHECK-NEXT: esc.slice [[C]] {offsets = array<i64: -2, -2, 0>, strides = array<i64: 1, 1>}
  %3 = esc.slice %0 {offsets = array<i64: 2, 2, 0>, strides = array<i64: 1, 1>} : tensor<1x8x8x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x4x!esc.q<u8, 0.5>>
  %4 = esc.slice %3 {offsets = array<i64: -2, -2, 0>, strides = array<i64: 1, 1>} : tensor<1x4x4x4x!esc.q<u8, 0.5>> -> tensor<1x8x8x4x!esc.q<u8, 0.5>>
  // CHECK-NEXT: esc.dequantize
  %5 = esc.dequantize %2 : tensor<1x4x4x8x!esc.q<u8, 0.5>> -> tensor<1x8x4x4xf32>
  %6 = esc.dequantize %4 : tensor<1x8x8x4x!esc.q<u8, 0.5>> -> tensor<1x4x8x8xf32>
  func.return %5, %6 : tensor<1x8x4x4xf32>, tensor<1x4x8x8xf32>
}
