// Layers side by side of which one has small tiles lie apart in PSUM: the large one has two instances.
// RUN: esc-opt %s -p plan-memory,double-buffer | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 8x2x2 !esc.q<u8, 1.0> raw
  bfs.tensor @t1 : 8x2x2 !esc.q<u8, 1.0> raw resident rows 6
  bfs.tensor @t2 : 8x2x2 !esc.q<u8, 1.0> raw
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 2>}
  bfs.output "y0" @t2 {shape = array<i64: 1, 2, 8, 2>}
  bfs.constant @first_w {value = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>}
  bfs.constant @first_p {value = #blob.dense<3x2xi32, [-128, 120, 14720422, 10205193, 26, 26]>}
  bfs.constant @second_w {value = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>}
  bfs.constant @second_p {value = #blob.dense<3x2xi32, [-128, 120, 14720422, 10205193, 26, 26]>}
  bfs.bands attributes {delays = array<i64: 0, 1>} {
    bfs.layer "/first" "dense" -> @t1 attributes {nodes = ["/first"], macs = 0 : i64, weights = 0 : i64} {
      %c0 = arith.constant 0 : index
      %c8 = arith.constant 8 : index
      %c2 = arith.constant 2 : index
      %act = bfs.buffer act 32
      %out = bfs.resident @t1
      %psum = bfs.buffer psum 12000
      %weights = bfs.buffer coef 4
      %par = bfs.buffer par 32
      bfs.load_weights %weights, @first_w[%c0 : %c2, %c0 : %c2]
      bfs.load_parameters %par, @first_p[%c0 : %c2] {block = 2 : i64}
      bfs.for (%y, %yn) = %c0 size %c8 step 2 {
        bfs.load_tile %act, @t0[%y : %yn, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
        bfs.open_tile %out[%y : %yn, %c0 : %c2, %c0 : %c2]
        bfs.conv %psum, %act, %weights[%y : %yn, %c0 : %c2, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
        bfs.requant %out, %psum, %par {lo = 0 : i64, hi = 255 : i64, q_signed = false}
      }
    }
    bfs.layer "/second" "dense" -> @t2 attributes {nodes = ["/second"], macs = 0 : i64, weights = 0 : i64} {
      %c0 = arith.constant 0 : index
      %c8 = arith.constant 8 : index
      %c2 = arith.constant 2 : index
      %act = bfs.resident @t1
      %out = bfs.buffer act 8
      %psum = bfs.buffer psum 3500
      %weights = bfs.buffer coef 4
      %par = bfs.buffer par 32
      bfs.load_weights %weights, @second_w[%c0 : %c2, %c0 : %c2]
      bfs.load_parameters %par, @second_p[%c0 : %c2] {block = 2 : i64}
      bfs.for (%y, %yn) = %c0 size %c8 step 2 {
        bfs.open_tile %out[%y : %yn, %c0 : %c2, %c0 : %c2]
        bfs.conv %psum, %act, %weights[%y : %yn, %c0 : %c2, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
        bfs.requant %out, %psum, %par {lo = 0 : i64, hi = 255 : i64, q_signed = false}
        bfs.store_tile @t2, %out
      }
    }
  }
}

// CHECK: %psum = bfs.buffer psum 12000 at [0, 12000]
// CHECK: %psum = bfs.buffer psum 3500 at [24000, 27504]
