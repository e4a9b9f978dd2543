// RUN: esc-opt %s | esc-opt | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 2x2x8 !esc.q<u8, 0.5> raw
  bfs.tensor @u : 4x4x2 !esc.q<u8, 0.5> raw
  bfs.tensor @v : 4x3x2 !esc.q<u8, 0.5> raw
  bfs.input "x" @t {shape = array<i64: 1, 8, 2, 2>}
  bfs.output "y" @v {shape = array<i64: 1, 2, 4, 3>}
  bfs.layer "l" "space" -> @u attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 32
    %act = bfs.buffer act 32
    bfs.depth_to_space %out, %act of @t {blocks = array<i64: 2, 2>}
  }
  bfs.layer "m" "take" -> @v attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %0 = arith.constant 0 : index
    %2 = arith.constant 2 : index
    %3 = arith.constant 3 : index
    %4 = arith.constant 4 : index
    %out = bfs.buffer act 32
    %act = bfs.buffer act 32
    bfs.load_tile %act, @u [%0 : %4, %0 : %3, %0 : %2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>, taken_rows = array<i64: 0, 0, 3, 2>, taken_columns = array<i64: 1, 2, 2>}
    bfs.take %out, %act of @u {rows = array<i64: 0, 0, 3, 2>, columns = array<i64: 1, 2, 2>}
  }
}
// CHECK: bfs.depth_to_space %{{[a-z0-9]+}}, %{{[a-z0-9]+}} of @t {blocks = array<i64: 2, 2>}
// CHECK: bfs.load_tile {{.*}} taken_rows = array<i64: 0, 0, 3, 2>, taken_columns = array<i64: 1, 2, 2>}
// CHECK: bfs.take %{{[a-z0-9_]+}}, %{{[a-z0-9_]+}} of @u {rows = array<i64: 0, 0, 3, 2>, columns = array<i64: 1, 2, 2>}
