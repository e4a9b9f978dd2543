// Windows that do not fit ACT: an average becomes a depthwise convolution whose window is accumulated in parts, a maximum
// one over columns and one over rows.
// RUN: esc-opt %s -p tile-basis-first | filecheck %s

func.func @main(%x: tensor<1x64x48x48xf32>) -> (tensor<1x64x2x2xf32>, tensor<1x64x1x1xf32>) {
  %0 = esc.quantize %x : tensor<1x64x48x48xf32> -> tensor<1x48x48x64x!esc.q<u8, 1.0>>
  %1 = esc.max_pool %0 {kernel = array<i64: 47, 47>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x48x48x64x!esc.q<u8, 1.0>> -> tensor<1x2x2x64x!esc.q<u8, 1.0>> loc("/max")
  %2 = esc.avg_pool %0 {kernel = array<i64: 48, 48>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, count_include_pad = false, mult = #blob.dense<1xi32, [1048576]>, count0 = 2304 : i64, shift = 30 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x48x48x64x!esc.q<u8, 1.0>> -> tensor<1x1x1x64x!esc.q<u8, 1.0>> loc("/average")
  %3 = esc.dequantize %1 : tensor<1x2x2x64x!esc.q<u8, 1.0>> -> tensor<1x64x2x2xf32>
  %4 = esc.dequantize %2 : tensor<1x1x1x64x!esc.q<u8, 1.0>> -> tensor<1x64x1x1xf32>
  func.return %3, %4 : tensor<1x64x2x2xf32>, tensor<1x64x1x1xf32>
}

// CHECK:      bfs.layer "/max" "pool" -> [[MIDDLE:@t[0-9]+]] attributes {nodes = ["/max"]
// CHECK:        bfs.pool {{.*}}kernel = array<i64: 1, 47>{{.*}}kind = "max"
// CHECK:      bfs.layer "/max_2" "pool" -> {{@t[0-9]+}} attributes {nodes = ["/max"]
// CHECK:        bfs.resident [[MIDDLE]]
// CHECK:        bfs.pool {{.*}}kernel = array<i64: 47, 1>{{.*}}kind = "max"
// CHECK:      bfs.layer "/average" "depthwise" -> {{@t[0-9]+}} attributes {nodes = ["/average"], macs = 0 : i64, weights = 0 : i64}
// CHECK:        bfs.load_weights %weights, [[ONES:@c[0-9]+]]
// CHECK-NEXT:   bfs.conv_dw {{.*}}kernel = array<i64: 12, 48>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 1 : i64}
// CHECK-NEXT:   bfs.load_tile {{.*}}pads = array<i64: -12, 0>
// CHECK-NEXT:   bfs.load_weights %weights, [[ONES]]
// CHECK-NEXT:   bfs.conv_dw {{.*}}pads = array<i64: -12, 0>, kpg = 1 : i64, accumulate}
// CHECK-NEXT:   bfs.load_tile {{.*}}pads = array<i64: -24, 0>
// CHECK-NEXT:   bfs.load_weights %weights, [[ONES]]
// CHECK-NEXT:   bfs.conv_dw {{.*}}pads = array<i64: -24, 0>, kpg = 1 : i64, accumulate}
// CHECK-NEXT:   bfs.load_tile {{.*}}pads = array<i64: -36, 0>
// CHECK-NEXT:   bfs.load_weights %weights, [[ONES]]
// CHECK-NEXT:   bfs.conv_dw {{.*}}pads = array<i64: -36, 0>, kpg = 1 : i64, accumulate}
// CHECK-NEXT:   bfs.requant
