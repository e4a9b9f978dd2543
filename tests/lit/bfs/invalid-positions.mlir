// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x6 !esc.q<u8, 0.5> raw
  bfs.layer "l" "space" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 384
    %act = bfs.buffer act 384
    bfs.depth_to_space %out, %act of @t {blocks = array<i64: 0, 2>}
  }
}
// CHECK: blocks must be 2 integers of at least 1, found [0, 2]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x6 !esc.q<u8, 0.5> raw
  bfs.layer "l" "take" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 384
    %act = bfs.buffer act 384
    bfs.take %out, %act of @t {rows = array<i64: -1, 2>, columns = array<i64: 0>}
  }
}
// CHECK: rows must be 2 integers of at least 0, found [-1, 2]
