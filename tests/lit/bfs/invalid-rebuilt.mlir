// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.constant @c {value = #blob.dense<1x1x1x2x1xi8, [1, -1]>}
  bfs.layer "l" "sums" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    bfs.load_sums %coef, %par, @c[%c0 : %c0, %c0 : %c0] {terms = 1 : i64, rows = 0 : i64, patch = array<i64: 1, 1>, shift = 0 : i64}
  }
}
// CHECK: rows must be

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.constant @c {value = #blob.dense<1x1x1x1x2xi8, [1, -1]>}
  bfs.layer "l" "circulant" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %coef = bfs.buffer coef 128
    %c0 = arith.constant 0 : index
    bfs.load_circulant %coef, @c[%c0 : %c0, %c0 : %c0] {taps = 1 : i64, block = 0 : i64}
  }
}
// CHECK: block must be
