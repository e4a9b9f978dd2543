// A small convolution fits one tile: every transfer stands outside all loops. Names of nodes reach the layers.
// RUN: esc-opt %s -p tile-basis-first | filecheck %s

func.func @main(%0: tensor<1x2x6x6xf32>) -> tensor<1x2x3x3xf32> attributes {input_names = ["x"], output_names = ["y0"]} {
  %1 = esc.quantize %0 : tensor<1x2x6x6xf32> -> tensor<1x6x6x2x!esc.q<i8, 1.0>>
  %2 = esc.conv2d %1 {weight = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x6x6x2x!esc.q<i8, 1.0>> -> tensor<1x6x6x2xi32> loc("/conv")
  %3 = esc.requantize %2 {bias = #blob.dense<2xi32, [-128, 120]>, mult = #blob.dense<2xi32, [14720422, 10205193]>, shift = #blob.dense<2xui8, [26, 26]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x6x6x2xi32> -> tensor<1x6x6x2x!esc.q<u8, 1.0>>
  %4 = esc.max_pool %3 {kernel = array<i64: 4, 4>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x6x6x2x!esc.q<u8, 1.0>> -> tensor<1x3x3x2x!esc.q<u8, 1.0>>
  %5 = esc.dequantize %4 : tensor<1x3x3x2x!esc.q<u8, 1.0>> -> tensor<1x2x3x3xf32>
  func.return %5 : tensor<1x2x3x3xf32>
}

// CHECK:       bfs.program attributes {target = "name = {{.*}}"} {
// CHECK-NEXT:    bfs.tensor @t0 : 6x6x2 !esc.q<i8, 1.0> raw
// CHECK-NEXT:    bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw resident
// CHECK-NEXT:    bfs.tensor @t2 : 3x3x2 !esc.q<u8, 1.0> bitmap segment 3
// CHECK-NEXT:    bfs.input "x" @t0 {shape = array<i64: 1, 2, 6, 6>}
// CHECK-NEXT:    bfs.output "y0" @t2 {shape = array<i64: 1, 2, 3, 3>}
// CHECK-NEXT:    bfs.constant @c0 {value = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>}
// CHECK-NEXT:    bfs.constant @c1 {value = #blob.dense<3x2xi32, [-128, 120, 14720422, 10205193, 26, 26]>}
// CHECK-NEXT:    bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
// CHECK:           %out = bfs.resident @t1
// CHECK:           bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
// CHECK-NEXT:      bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
// CHECK-NEXT:      bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {{.*}}
// CHECK-NEXT:      bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
// CHECK-NEXT:      bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {{{.*}}row_groups = 6 : i64}
// CHECK-NEXT:      bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
// CHECK-NEXT:    }
// CHECK-NEXT:    bfs.layer "layer1" "pool" -> @t2
// CHECK:           %source0 = bfs.resident @t1
// CHECK:           bfs.pool %out, %source0 {kernel = array<i64: 4, 4>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, kind = "max", count_include_pad = false}
// CHECK-NEXT:      bfs.store_tile @t2, %out
