// RUN: esc-opt %s | esc-opt | filecheck %s
// Channels in another order.

func.func @main(%x : tensor<1x4x4x6x!esc.q<u8, 0.5>>) -> tensor<1x4x4x6x!esc.q<u8, 0.5>> {
  // CHECK: esc.shuffle %x {groups = 3 : i64} : tensor<1x4x4x6x!esc.q<u8, 0.5>> -> tensor<1x4x4x6x!esc.q<u8, 0.5>>
  %0 = esc.shuffle %x {groups = 3 : i64} : tensor<1x4x4x6x!esc.q<u8, 0.5>> -> tensor<1x4x4x6x!esc.q<u8, 0.5>>
  func.return %0 : tensor<1x4x4x6x!esc.q<u8, 0.5>>
}
