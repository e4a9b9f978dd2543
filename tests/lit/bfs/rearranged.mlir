// RUN: esc-opt %s | esc-opt | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x6 !esc.q<u8, 0.5> raw
  bfs.tensor @u : 8x8x6 !esc.q<u8, 0.5> raw
  bfs.input "x" @t {shape = array<i64: 1, 6, 8, 8>}
  bfs.output "y" @u {shape = array<i64: 1, 6, 8, 8>}
  bfs.layer "l" "shuffle" -> @u attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 384
    %act = bfs.buffer act 384
    bfs.shuffle %out, %act of @t {groups = 3 : i64}
  }
}
// CHECK: bfs.shuffle %{{[a-z0-9]+}}, %{{[a-z0-9]+}} of @t {groups = 3 : i64}
