// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, %g : tensor<1x2x1x2x!esc.q<i8, 0.25>>) {
  %0 = esc.mul %x, %g {mult = 3 : i64, shift = 4 : i64, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x2x1x2x!esc.q<i8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: mul: rhs of shape [1, 2, 1, 2]; requires [1, 4, 4, 2], or 1 along an axis

// -----

func.func @main(%x : tensor<1x1x1x2x!esc.q<i8, 0.25>>, %g : tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.mul %x, %g {mult = 3 : i64, shift = 4 : i64, lo = 0 : i64, hi = 200 : i64} : tensor<1x1x1x2x!esc.q<i8, 0.25>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: mul: shapes (1, 1, 1, 2) and (1, 4, 4, 2) differ

// -----

func.func @main(%x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, %g : tensor<1x1x1x2x!esc.q<i8, 0.25>>) {
  %0 = esc.mul %x, %g {mult = -1 : i64, shift = 4 : i64, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x1x1x2x!esc.q<i8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: multiplier must be in [0, 2^31), found -1

// -----

func.func @main(%x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, %g : tensor<1x1x1x2x!esc.q<i8, 0.25>>) {
  %0 = esc.mul %x, %g {mult = 1 : i64, shift = 4 : i64, lo = -1 : i64, hi = 200 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x1x1x2x!esc.q<i8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: clamp [-1, 200] of the addition must lie in [0, 255]
