// RUN: esc-opt %s --verify-diagnostics | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x6 !esc.q<u8, 0.5> raw
  bfs.layer "l" "shuffle" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 384
    %act = bfs.buffer act 384
    bfs.shuffle %out, %act of @t {groups = 0 : i64}
  }
}
// CHECK: groups must be positive, found 0
