// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.constant @c {value = #blob.dense<1x1x1x2xi8, [1, -1]>}
  bfs.layer "l" "codebook" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    bfs.load_codes %coef, %par, @c[%c0 : %c0, %c0 : %c0] {patch = array<i64: 3, 0>}
  }
}
// CHECK: patch must be 2 integers of at least 1, found [3, 0]
