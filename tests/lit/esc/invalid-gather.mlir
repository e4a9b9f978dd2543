// RUN: esc-opt %s --verify-diagnostics --split-input-file 2>&1 | filecheck %s

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<1x1x3x2xi8, [1, 0, 0, -128, 0, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 4 : i64, bundle = 2 : i64, spread = 0 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: weights must be from -127 to 127

// -----

func.func @main(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<1x1x3x2xi8, [1, 0, 0, -2, 0, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 4 : i64, bundle = 2 : i64, spread = 0 : i64} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: sparse must be int8[K,R,S,3], found int8[1, 1, 3, 2]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<1x1x3x2xi8, [1, 0, 0, -2, 0, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 0 : i64, bundle = 2 : i64, spread = 0 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: banks must be at least 1, found 0
