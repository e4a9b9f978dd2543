// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x2x2x6x!esc.q<u8, 0.5>>) {
  %0 = esc.depth_to_space %x {blocks = array<i64: 2, 2>} : tensor<1x2x2x6x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: blocks [2, 2] do not make

// -----

func.func @main(%x : tensor<1x2x2x4x!esc.q<u8, 0.5>>) {
  %0 = esc.depth_to_space %x {blocks = array<i64: 2, 2>} : tensor<1x2x2x4x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x!esc.q<u8, 0.25>>
  func.return
}
// CHECK: depth_to_space keeps the element type

// -----

func.func @main(%x : tensor<1x2x2x4x!esc.q<u8, 0.5>>) {
  %0 = esc.take %x {rows = array<i64: 0, 2>, columns = array<i64: 0>} : tensor<1x2x2x4x!esc.q<u8, 0.5>> -> tensor<1x2x1x4x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: rows 0 to 2 are taken; the input has 2

// -----

func.func @main(%x : tensor<1x2x2x4x!esc.q<u8, 0.5>>) {
  %0 = esc.take %x {rows = array<i64: 0>, columns = array<i64: 0>} : tensor<1x2x2x4x!esc.q<u8, 0.5>> -> tensor<1x2x1x4x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: take of 1 rows and 1 columns of 4 channels gives
