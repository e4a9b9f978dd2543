// All nodes that do not tile are listed by name, with what they need and what there is.
// RUN: not esc-opt %s -p tile-basis-first 2>&1 | filecheck %s

func.func @main(%x: tensor<1x64x300x300xf32>) -> tensor<1x64x2x2xf32> {
  %0 = esc.quantize %x : tensor<1x64x300x300xf32> -> tensor<1x300x300x64x!esc.q<u8, 1.0>>
  %1 = esc.max_pool %0 {kernel = array<i64: 300, 300>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x300x300x64x!esc.q<u8, 1.0>> -> tensor<1x1x1x64x!esc.q<u8, 1.0>> loc("/global")
  %2 = esc.max_pool %0 {kernel = array<i64: 150, 150>, strides = array<i64: 150, 150>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x300x300x64x!esc.q<u8, 1.0>> -> tensor<1x2x2x64x!esc.q<u8, 1.0>> loc("/pool")
  %3 = esc.dequantize %2 : tensor<1x2x2x64x!esc.q<u8, 1.0>> -> tensor<1x64x2x2xf32>
  func.return %3 : tensor<1x64x2x2xf32>
}

// CHECK:      error: {{.*}}node '/global' (max_pool): kernel 300 exceeds 255
// CHECK-NEXT: error: {{.*}}node '/pool' (max_pool): its smallest tile needs 1620000 bytes of act; target 'esc1' has 65536
// CHECK-NEXT: note: enlarge the scratchpads in the target file, or change the model
