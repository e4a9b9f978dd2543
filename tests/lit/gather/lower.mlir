// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | filecheck %s --check-prefix TILED
// RUN: esc-opt %s -p "tile-basis-first,plan-memory" | esc-opt -p "pack-coefficients,lower-to-eisa" | filecheck %s
// Sparse weights become a stream that conv.gather reads from COEF.

func.func @main(%i: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %x = esc.quantize %i : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<2x1x3x2xi8, [1, 0, 0, -2, 0, 0, 0, 5, 0, 0, 3, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 4 : i64, bundle = 2 : i64, spread = 0 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.requantize %0 {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.dequantize %1 : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}

// TILED:       bfs.constant @c0 {value = #blob.dense<2x1x3x2xi8,
// TILED:       bfs.layer "layer0" "gather"
// TILED:       bfs.load_sparse %weights, @c0[%c0 : %c2, %c0 : %c2] {banks = 4 : i64, bundle = 2 : i64}
// TILED:       bfs.conv_gather %psum, %{{.*}}, %weights[%c0 : %c4, %c0 : %c4, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1>, of = 2 : i64, banks = 4 : i64, bundle = 2 : i64}

// CHECK:       eisa.load.bytes size=8
// CHECK:       eisa.conv.gather {{.*}}kn=2, size=8, c=2, banks=4, step=2, rows=2
