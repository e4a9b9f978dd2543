// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | filecheck %s --check-prefix TILED
// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | esc-opt -p "pack-coefficients,lower-to-eisa" | filecheck %s
// The values of circulant blocks with fast products lie in COEF as they are.

func.func @main(%i: tensor<1x3x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %x = esc.quantize %i : tensor<1x3x4x4xf32> -> tensor<1x4x4x3x!esc.q<u8, 0.5>>
  %0 = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x2x2xi8, [1, 2, 3, -4]>, channels = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, fast = 1 : i64} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %0 {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}

// TILED:       bfs.layer "layer0" "fastcirculant"
// TILED:       bfs.load_blocks %weights, @c0[%c0 : %c2, %c0 : %c3] {block = 2 : i64}
// TILED:       bfs.conv_circulant
// TILED-SAME:  block = 2 : i64

// CHECK:       eisa.load.weights dram=0x40, size={{[0-9]+}}
// CHECK-SAME:  count=4
// CHECK:       eisa.conv.circ
// CHECK-SAME:  c=3, block=2
