// RUN: esc-opt %s --verify-diagnostics --split-input-file 2>&1 | filecheck %s

func.func @main(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  %0 = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x1x2xi8, [1, 2]>, channels = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: values must be int8[2/2,R,S,3/2,2], found int8[1, 1, 1, 1, 2]

// -----

func.func @main(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  %0 = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x3x1xi8, [1, 2, 3]>, channels = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: values must be int8[K/b,R,S,C/b,b] with b from 2 to 16, found int8[1, 1, 1, 3, 1]

// -----

func.func @main(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  %0 = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x2x2xi8, [1, 2, 3, -4]>, channels = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 0, 0>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: output must be [1, 5, 4, 2], found [1, 4, 4, 2]
