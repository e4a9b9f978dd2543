// RUN: esc-opt %s | esc-opt | filecheck %s
// The factor has one row and one column.

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "mul" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %act = bfs.buffer act 128
    %gate = bfs.buffer act 128
    %par = bfs.buffer par 128
    bfs.mul %out, %act, %gate, %par {spread = array<i64: 1, 1, 0>}
  }
}
// CHECK: bfs.mul [[OUT:%[a-z0-9]+]], [[ACT:%[a-z0-9]+]], [[GATE:%[a-z0-9]+]], [[PAR:%[a-z0-9]+]] {spread = array<i64: 1, 1, 0>}
