// A resident tensor lies at the bottom of ACT; the buffers of its layers lie above it, wherever they begin.
// RUN: esc-opt %s -p plan-memory | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 6x6x2 !esc.q<i8, 1.0> raw
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw resident
  bfs.tensor @t2 : 3x3x2 !esc.q<u8, 1.0> bitmap segment 3
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 6, 6>}
  bfs.output "y0" @t2 {shape = array<i64: 1, 2, 3, 3>}
  bfs.constant @c0 {value = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>}
  bfs.constant @c1 {value = #blob.dense<3x2xi32, [-128, 120, 14720422, 10205193, 26, 26]>}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv", "/relu"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c6 = arith.constant 6 : index
    %c2 = arith.constant 2 : index
    %act = bfs.buffer act 108
    %out = bfs.resident @t1
    %psum = bfs.buffer psum 288
    %weights = bfs.buffer coef 4
    %parameters = bfs.buffer par 18
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 6 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
  }
  bfs.layer "/pool" "pool" -> @t2 attributes {nodes = ["/pool"], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c3 = arith.constant 3 : index
    %c2 = arith.constant 2 : index
    %c1 = arith.constant 1 : index
    %act = bfs.resident @t1
    %out = bfs.buffer act 18
    bfs.open_tile %out[%c0 : %c3, %c0 : %c3, %c0 : %c2]
    bfs.pool %out, %act {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, kind = "max", count_include_pad = false}
    bfs.store_tile @t2, %out
  }
}

// CHECK:       bfs.program attributes {target = "esc1", arena = 192 : i64} {
// CHECK-NEXT:    bfs.tensor @t0 : 6x6x2 !esc.q<i8, 1.0> raw at 0
// CHECK-NEXT:    bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw resident at 0
// CHECK-NEXT:    bfs.tensor @t2 : 3x3x2 !esc.q<u8, 1.0> bitmap segment 3 at 0
// CHECK:         bfs.layer "/conv"
// CHECK:           %act = bfs.buffer act 108 at [80]
// CHECK-NEXT:      %out = bfs.resident @t1
// CHECK:         bfs.layer "/pool"
// CHECK:           %act = bfs.resident @t1
// CHECK-NEXT:      %out = bfs.buffer act 18 at [131040]
