// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | filecheck %s --check-prefix TILED
// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | esc-opt -p "pack-coefficients,lower-to-eisa" | filecheck %s
// Coefficients and vectors become constants, and load.se makes int8 weights of them.

func.func @main(%i: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %x = esc.quantize %i : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<2x2x1x1x2xi8, [-2, 1, 0, 4, 1, 0, 0, -1]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %0 {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}

// TILED:       bfs.constant @c0 {value = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>}
// TILED-NEXT:  bfs.constant @c1 {value = #blob.dense<2x2x1x1x2xi8, [-2, 1, 0, 4, 1, 0, 0, -1]>}
// TILED:       bfs.layer "layer0" "smartexchange"
// TILED:       bfs.load_bytes %parameter0, @c0
// TILED-NEXT:  bfs.load_sums %weights, %parameter0, @c1[%c0 : %c2, %c0 : %c2] {terms = 2 : i64, rows = 1 : i64, patch = array<i64: 3, 1>, shift = 1 : i64}

// CHECK:       eisa.load.bytes size=6, pad=par, dst=0x20
// CHECK-NEXT:  eisa.load.se dram=0x6, size={{[0-9]+}}, vectors=0x20, kn=2, terms=2, rows=1, run=2, span=3, depth=1, shift=1, level=2
// CHECK:       eisa.conv.dense
