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

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.constant @c {value = #blob.dense<1x1x1x1x2xi8, [1, -1]>}
  bfs.layer "l" "fastcirculant" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %coef = bfs.buffer coef 128
    %c0 = arith.constant 0 : index
    bfs.load_blocks %coef, @c[%c0 : %c0, %c0 : %c0] {block = 0 : i64}
  }
}
// CHECK: block must be positive, found 0

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "fastcirculant" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %psum = bfs.buffer psum 128
    %c0 = arith.constant 0 : index
    bfs.conv_circulant %psum, %act, %coef[%c0 : %c0, %c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, block = 2 : i64, row_groups = 0 : i64}
  }
}
// CHECK: row_groups must be positive, found 0
