// The operands of a concatenation are computed where the result has them, and a slice of it is read there: neither is a
// layer. The second one of two equal operands is copied.
// RUN: esc-opt %s -p tile-basis-first,plan-memory | filecheck %s

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 1.0>>
  %1 = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, 2, 3, 4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x4x4x2xi32> loc("/conv")
  %2 = esc.requantize %1 {bias = #blob.dense<2xi32, [0, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 1.0>> loc("/conv")
  %3 = esc.max_pool %0 {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x4x4x2x!esc.q<u8, 1.0>> loc("/pool")
  %4 = esc.concat %3, %2, %2 : tensor<1x4x4x2x!esc.q<u8, 1.0>>, tensor<1x4x4x2x!esc.q<u8, 1.0>>, tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x4x4x6x!esc.q<u8, 1.0>> loc("/concat")
  %5 = esc.slice %4 {offsets = array<i64: 0, 0, 1>, strides = array<i64: 1, 1>} : tensor<1x4x4x6x!esc.q<u8, 1.0>> -> tensor<1x4x4x2x!esc.q<u8, 1.0>> loc("/slice")
  %6 = esc.max_pool %5 {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x4x4x2x!esc.q<u8, 1.0>> loc("/last")
  %7 = esc.dequantize %6 : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x2x4x4xf32>
  func.return %7 : tensor<1x2x4x4xf32>
}

// CHECK:      bfs.tensor @t1 : 4x4x6 !esc.q<u8, 1.0> raw resident at 0
// CHECK-NEXT: bfs.tensor @t2 : 4x4x2 !esc.q<u8, 1.0> raw resident in @t1 from 2
// CHECK-NEXT: bfs.tensor @t3 : 4x4x2 !esc.q<u8, 1.0> raw resident in @t1 from 0
// CHECK-NEXT: bfs.tensor @t4 : 4x4x2 !esc.q<u8, 1.0> raw resident in @t1 from 4
// CHECK-NEXT: bfs.tensor @t5 : 4x4x2 !esc.q<u8, 1.0> raw resident in @t1 from 1
// CHECK:      bfs.layer "/conv" "dense" -> @t2 attributes {nodes = ["/conv", "/concat", "/slice"]
// CHECK:      bfs.layer "/pool" "pool" -> @t3 attributes {nodes = ["/pool", "/concat", "/slice"]
// CHECK:      bfs.layer "/conv_2" "map" -> @t4 attributes {nodes = ["/conv", "/concat", "/slice"]
// CHECK-NOT:  bfs.layer "/concat"
// CHECK-NOT:  bfs.layer "/slice"
// CHECK:      bfs.layer "/last" "pool" -> @t6 attributes {nodes = ["/last"]
// CHECK:        %source0 = bfs.resident @t5
