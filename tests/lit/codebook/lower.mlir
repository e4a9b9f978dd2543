// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | filecheck %s --check-prefix TILED
// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | esc-opt -p "pack-coefficients,lower-to-eisa" | filecheck %s
// Codes and book become constants, and load.vq makes int8 weights of them.

func.func @main(%i: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %x = esc.quantize %i : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<2x1x1x2xi8, [-2, 1, 0, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %0 {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}

// TILED:       bfs.constant @c0 {value = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>}
// TILED-NEXT:  bfs.constant @c1 {value = #blob.dense<2x1x1x2xi8, [-2, 1, 0, 1]>}
// TILED:       bfs.layer "layer0" "codebook"
// TILED:       bfs.load_bytes %parameter0, @c0
// TILED-NEXT:  bfs.load_codes %weights, %parameter0, @c1[%c0 : %c2, %c0 : %c2] {patch = array<i64: 3, 1>}

// CHECK:       eisa.load.bytes size=6, pad=par, dst=0x20
// CHECK-NEXT:  eisa.load.vq dram=0x46, size=23, table=0x6, count=4, book=0x20, entries=2, span=3, depth=1, run=2
// CHECK:       eisa.conv.dense
