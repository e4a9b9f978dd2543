// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @main(%x : tensor<1x4x4x6x!esc.q<u8, 0.5>>) {
  %0 = esc.shuffle %x {groups = 4 : i64} : tensor<1x4x4x6x!esc.q<u8, 0.5>> -> tensor<1x4x4x6x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: groups=4 must divide 6 channels

// -----

func.func @main(%x : tensor<1x4x4x6x!esc.q<u8, 0.5>>) {
  %0 = esc.shuffle %x {groups = 3 : i64} : tensor<1x4x4x6x!esc.q<u8, 0.5>> -> tensor<1x4x4x6x!esc.q<i8, 0.5>>
  func.return
}
// CHECK: shuffle keeps the type
