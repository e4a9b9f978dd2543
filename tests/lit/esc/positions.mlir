// RUN: esc-opt %s | esc-opt | filecheck %s
// Values at other positions.

func.func @main(%x : tensor<1x2x2x8x!esc.q<u8, 0.5>>) -> tensor<1x3x2x2x!esc.q<u8, 0.5>> {
  // CHECK: esc.depth_to_space %x {blocks = array<i64: 2, 2>} : tensor<1x2x2x8x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = esc.depth_to_space %x {blocks = array<i64: 2, 2>} : tensor<1x2x2x8x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  // CHECK: esc.take %0 {rows = array<i64: 0, 0, 3>, columns = array<i64: 2, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x2x2x!esc.q<u8, 0.5>>
  %1 = esc.take %0 {rows = array<i64: 0, 0, 3>, columns = array<i64: 2, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x2x2x!esc.q<u8, 0.5>>
  func.return %1 : tensor<1x3x2x2x!esc.q<u8, 0.5>>
}
