// RUN: esc-opt %s --verify-diagnostics --split-input-file 2>&1 | filecheck %s

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [-3, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: a code names entry 3 of a book of 2

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [2, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -128]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: values of the book must be from -127 to 127

// -----

func.func @main(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [2, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: codes must be int8[K,R,S/3,3/1], found int8[1, 1, 1, 2]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [2, 1]>, book = #blob.dense<2x3xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: book must be int8[N,span,depth] with N from 1 to 127, found int8[2, 3]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [2, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
// CHECK: output must be [1, 4, 2, 1], found [1, 4, 4, 1]
