// RUN: esc-opt %s -p "lower-prune" --split-input-file | filecheck %s

// Unsigned: 0, 1 and 2 become 0.
func.func @unsigned(%x : tensor<1x4x4x8x!esc.q<u8, 0.5>>) -> tensor<1x4x4x8x!esc.q<u8, 0.5>> {
  %y = prune.threshold %x {threshold = 3 : i64} : tensor<1x4x4x8x!esc.q<u8, 0.5>> -> tensor<1x4x4x8x!esc.q<u8, 0.5>>
  func.return %y : tensor<1x4x4x8x!esc.q<u8, 0.5>>
}
// CHECK-LABEL: func.func @unsigned
// CHECK-NEXT:    %{{.*}} = esc.lookup %x {table = #blob.dense<256xui8, "0x0000000304050607
// CHECK-NOT:     prune.threshold

// -----

// Signed: table entries 1, 2 and 254 (-2), 255 (-1) become 0.
func.func @signed(%x : tensor<1x4x4x8x!esc.q<i8, 0.5>>) -> tensor<1x4x4x8x!esc.q<i8, 0.5>> {
  %y = prune.threshold %x {threshold = 3 : i64} : tensor<1x4x4x8x!esc.q<i8, 0.5>> -> tensor<1x4x4x8x!esc.q<i8, 0.5>>
  func.return %y : tensor<1x4x4x8x!esc.q<i8, 0.5>>
}
// CHECK-LABEL: func.func @signed
// CHECK-NEXT:    %{{.*}} = esc.lookup %x {table = #blob.dense<256xi8, "0x00000003{{.*}}fcfd0000">}
