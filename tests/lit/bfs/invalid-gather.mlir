// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.constant @c {value = #blob.dense<1x1x1x2xi8, [1, -1]>}
  bfs.layer "l" "gather" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %coef = bfs.buffer coef 128
    %c0 = arith.constant 0 : index
    bfs.load_sparse %coef, @c[%c0 : %c0, %c0 : %c0] {banks = 4 : i64, bundle = 0 : i64}
  }
}
// CHECK: bundle must be positive, found 0

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "gather" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %psum = bfs.buffer psum 128
    %c0 = arith.constant 0 : index
    bfs.conv_gather %psum, %act, %coef[%c0 : %c0, %c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 1, 0>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, of = 2 : i64, banks = 4 : i64, bundle = 1 : i64}
  }
}
// CHECK: kernel must be 2 integers of at least 1, found [1, 0]
