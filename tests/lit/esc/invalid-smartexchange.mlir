// RUN: esc-opt %s --verify-diagnostics --split-input-file 2>&1 | filecheck %s

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x2x1x1x2xi8, [-3, 1, 0, 4]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: coefficients must be 0 or of magnitude 1, 2 or 4, found -3

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x1x1x1x2xi8, [-2, 1]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: coefficients must be int8[K,2,R,S/span,2/1], found int8[1, 1, 1, 1, 2]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x1x1x1x2xi8, [-2, 1]>, vectors = #blob.dense<2x1x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: vectors must be of 1 or of 1 output channels, found 2

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x2x1x1x2xi8, [-2, 1, 0, 4]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 16 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: shift must be from 0 to 15, found 16

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x2x1x1x2xi8, [-2, 1, 0, 4]>, vectors = #blob.dense<2x3xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: vectors must be int8[G,J,span,depth] with J from 1 to 255, found int8[2, 3]
