// A tensor that does not fit ACT, between two layers: they run side by side, and ACT holds some of its rows.
// RUN: esc-opt %s -p tile-basis-first | filecheck %s
// RUN: esc-opt %s -p "tile-basis-first{bands=false}" | filecheck %s --check-prefix ALONE

func.func @main(%x: tensor<1x32x112x112xf32>) -> tensor<1x32x112x112xf32> {
  %0 = esc.quantize %x : tensor<1x32x112x112xf32> -> tensor<1x112x112x32x!esc.q<u8, 1.0>>
  %1 = esc.max_pool %0 {kernel = array<i64: 3, 1>, strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 1, 0>} : tensor<1x112x112x32x!esc.q<u8, 1.0>> -> tensor<1x112x112x32x!esc.q<u8, 1.0>> loc("/first")
  %2 = esc.max_pool %1 {kernel = array<i64: 3, 1>, strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 1, 0>} : tensor<1x112x112x32x!esc.q<u8, 1.0>> -> tensor<1x112x112x32x!esc.q<u8, 1.0>> loc("/second")
  %3 = esc.dequantize %2 : tensor<1x112x112x32x!esc.q<u8, 1.0>> -> tensor<1x32x112x112xf32>
  func.return %3 : tensor<1x32x112x112xf32>
}

// CHECK:      bfs.tensor [[MIDDLE:@t[0-9]+]] : 112x112x32 !esc.q<u8, 1.0> raw resident rows {{[0-9]+}} loc
// CHECK:      bfs.bands attributes {delays = array<i64: 0, {{[0-9]+}}>} {
// CHECK-NEXT:   bfs.layer "/first" "pool" -> [[MIDDLE]]
// CHECK:          %out = bfs.resident [[MIDDLE]]
// CHECK-NEXT:     bfs.for (%y, %yn) = %c0 size %c112 step [[STEP:[0-9]+]] {
// CHECK-NOT:        bfs.store_tile
// CHECK:        bfs.layer "/second" "pool" -> {{@t[0-9]+}}
// CHECK:          %source0 = bfs.resident [[MIDDLE]]
// CHECK-NEXT:     bfs.for (%y, %yn) = %c0 size %c112 step [[STEP]] {
// CHECK-NOT:        bfs.load_tile

// ALONE-NOT: resident
// ALONE-NOT: bfs.bands
