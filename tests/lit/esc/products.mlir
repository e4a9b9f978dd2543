// RUN: esc-opt %s | esc-opt | filecheck %s
// A product with a gate that has one value for each channel.

func.func @main(%x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, %g : tensor<1x1x1x2x!esc.q<i8, 0.25>>) -> tensor<1x4x4x2x!esc.q<u8, 0.5>> {
  // CHECK: esc.mul %x, %g {mult = 3 : i64, shift = 4 : i64, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x1x1x2x!esc.q<i8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = esc.mul %x, %g {mult = 3 : i64, shift = 4 : i64, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x1x1x2x!esc.q<i8, 0.25>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return %0 : tensor<1x4x4x2x!esc.q<u8, 0.5>>
}
