// RUN: esc-opt %s | esc-opt | filecheck %s
// RUN: esc-opt %s --print-op-generic | esc-opt | filecheck %s

bfs.program attributes {target = "esc1", sample = #blob.dense<4xui8, [1, 2, 3, 4]>} {
  bfs.tensor @in : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.tensor @mid : 8x8x16 !esc.q<u8, 0.25> bitmap segment 8 at 64
  bfs.tensor @out : 8x8x16 !esc.q<i8, 0.25> raw at 4096
  bfs.input "x" @in {shape = array<i64: 1, 3, 8, 8>, mean = [128.0], std = [64.0], channel_order = "rgb"}
  bfs.output "y" @mid {shape = array<i64: 1, 16, 8, 8>, softmax_axis = 1 : i64}
  bfs.constant @weights {value = #blob.dense<1x1x1x3xi8, [1, -2, 3]>}
  bfs.constant @ternary {value = #blob.dense<1x1x3xi8, [1, 0, -1]>}
  bfs.constant @parameters {value = #blob.dense<3x1xi32, [1, 2, 3]>}
  bfs.constant @packed {packed = #blob.dense<3xui8, [1, 254, 3]>, pieces = array<i64: 0, 0, 0, 3, 0>, address = 0 : i64}
  bfs.layer "conv" "dense" -> @mid attributes {nodes = ["/conv", "/relu"], macs = 27648 : i64, weights = 432 : i64} {
    %c0 = arith.constant 0 : index
    %c3 = arith.constant 3 : index
    %c8 = arith.constant 8 : index
    %c16 = arith.constant 16 : index
    %act = bfs.buffer act 4096 at [0, 4096]
    %res = bfs.buffer act 4096 at [8192]
    %out = bfs.buffer act 1024
    %psum = bfs.buffer psum 4096
    %coef = bfs.buffer coef 1024
    %par = bfs.buffer par 256
    %table = bfs.buffer par 256
    bfs.load_weights %coef, @weights[%c0 : %c16, %c0 : %c3]
    bfs.load_coefficients %coef, @ternary[%c0 : %c16]
    bfs.load_parameters %par, @parameters[%c0 : %c16] {block = 16 : i64}
    bfs.load_bytes %table, @weights
    bfs.for (%y, %rows) = %c0 size %c8 step 3 {
      bfs.load_tile %act, @in[%y : %rows, %c0 : %c8, %c0 : %c3] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, channels = array<i64: 0, 3, 0, 1>}
      bfs.open_tile %out[%y : %rows, %c0 : %c8, %c0 : %c16]
      bfs.conv %psum, %act, %coef[%y : %rows, %c0 : %c8, %c0 : %c16, %c0 : %c3] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, kpg = 16 : i64, cpg = 3 : i64, row_groups = 2 : i64}
      bfs.conv_dw %psum, %act, %coef[%y : %rows, %c0 : %c8, %c0 : %c16] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, kpg = 1 : i64}
      bfs.conv_dw %psum, %act, %coef[%y : %rows, %c0 : %c8, %c0 : %c16] {kernel = array<i64: 2, 3>, strides = array<i64: 1, 1>, pads = array<i64: -2, 1>, kpg = 1 : i64, accumulate}
      bfs.conv_esc %psum, %act, %coef, %par[%y : %rows, %c0 : %c8, %c0 : %c16] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, v = 6 : i64, ic_shift = 1 : i64, row_groups = 2 : i64}
      bfs.requant %out, %psum, %par {lo = 0 : i64, hi = 255 : i64, q_signed = false}
      bfs.requant %out, %psum, %par table %table residual %res addition %par {lo = 0 : i64, hi = 255 : i64, q_signed = true}
      bfs.add %out, %act, %res, %par
      bfs.map %out, %act of @in {strides = array<i64: 1, 1>, offsets = array<i64: 0, -1, 2>, channels = array<i64: 0, 16>}
      bfs.map %out, %act of @in table %table {strides = array<i64: 2, 1>, offsets = array<i64: 0, 0, 0>, channels = array<i64: 0, 16>}
      bfs.pool %out, %act {kind = "max", kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, count_include_pad = false}
      bfs.pool %out, %act parameters %par {kind = "average", kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>, count_include_pad = true, count0 = 4 : i64, shift = 20 : i64, lo = 0 : i64, hi = 255 : i64}
      bfs.store_tile @mid, %out
    }
  }
}

// CHECK:       bfs.program attributes {target = "esc1", sample = #blob.dense<4xui8, [1, 2, 3, 4]>} {
// CHECK-NEXT:    bfs.tensor @in : 8x8x3 !esc.q<u8, 0.5> raw
// CHECK-NEXT:    bfs.tensor @mid : 8x8x16 !esc.q<u8, 0.25> bitmap segment 8 at 64
// CHECK-NEXT:    bfs.tensor @out : 8x8x16 !esc.q<i8, 0.25> raw at 4096
// CHECK-NEXT:    bfs.input "x" @in {shape = array<i64: 1, 3, 8, 8>, mean = [{{.*}}], std = [{{.*}}], channel_order = "rgb"}
// CHECK-NEXT:    bfs.output "y" @mid {shape = array<i64: 1, 16, 8, 8>, softmax_axis = 1 : i64}
// CHECK-NEXT:    bfs.constant @weights {value = #blob.dense<1x1x1x3xi8, [1, -2, 3]>}
// CHECK-NEXT:    bfs.constant @ternary {value = #blob.dense<1x1x3xi8, [1, 0, -1]>}
// CHECK-NEXT:    bfs.constant @parameters {value = #blob.dense<3x1xi32, [1, 2, 3]>}
// CHECK-NEXT:    bfs.constant @packed {packed = #blob.dense<3xui8, [1, 254, 3]>, pieces = array<i64: 0, 0, 0, 3, 0>, address = 0 : i64}
// CHECK-NEXT:    bfs.layer "conv" "dense" -> @mid attributes {nodes = ["/conv", "/relu"], macs = 27648 : i64, weights = 432 : i64} {
// CHECK:           [[ACT:%.*]] = bfs.buffer act 4096 at [0, 4096]
// CHECK-NEXT:      [[RES:%.*]] = bfs.buffer act 4096 at [8192]
// CHECK-NEXT:      [[OUT:%.*]] = bfs.buffer act 1024
// CHECK-NEXT:      [[PSUM:%.*]] = bfs.buffer psum 4096
// CHECK-NEXT:      [[COEF:%.*]] = bfs.buffer coef 1024
// CHECK-NEXT:      [[PAR:%.*]] = bfs.buffer par 256
// CHECK-NEXT:      [[TABLE:%.*]] = bfs.buffer par 256
// CHECK-NEXT:      bfs.load_weights [[COEF]], @weights[{{.*}} : {{.*}}, {{.*}} : {{.*}}]
// CHECK-NEXT:      bfs.load_coefficients [[COEF]], @ternary[{{.*}} : {{.*}}]
// CHECK-NEXT:      bfs.load_parameters [[PAR]], @parameters[{{.*}} : {{.*}}] {block = 16 : i64}
// CHECK-NEXT:      bfs.load_bytes [[TABLE]], @weights
// CHECK-NEXT:      bfs.for ([[Y:%.*]], [[ROWS:%.*]]) = {{.*}} size {{.*}} step 3 {
// CHECK-NEXT:        bfs.load_tile [[ACT]], @in{{\[}}[[Y]] : [[ROWS]], {{.*}} : {{.*}}, {{.*}} : {{.*}}] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, channels = array<i64: 0, 3, 0, 1>}
// CHECK-NEXT:        bfs.open_tile [[OUT]]{{\[}}[[Y]] : [[ROWS]], {{.*}}]
// CHECK-NEXT:        bfs.conv [[PSUM]], [[ACT]], [[COEF]]{{\[}}[[Y]] : [[ROWS]], {{.*}}] {{{.*}}kpg = 16 : i64, cpg = 3 : i64, row_groups = 2 : i64}
// CHECK-NEXT:        bfs.conv_dw [[PSUM]], [[ACT]], [[COEF]]{{\[}}[[Y]] : [[ROWS]], {{.*}}] {{{.*}}kpg = 1 : i64}
// CHECK-NEXT:        bfs.conv_dw [[PSUM]], [[ACT]], [[COEF]]{{\[}}[[Y]] : [[ROWS]], {{.*}}] {kernel = array<i64: 2, 3>, strides = array<i64: 1, 1>, pads = array<i64: -2, 1>, kpg = 1 : i64, accumulate}
// CHECK-NEXT:        bfs.conv_esc [[PSUM]], [[ACT]], [[COEF]], [[PAR]]{{\[}}[[Y]] : [[ROWS]], {{.*}}] {{{.*}}v = 6 : i64, ic_shift = 1 : i64, row_groups = 2 : i64}
// CHECK-NEXT:        bfs.requant [[OUT]], [[PSUM]], [[PAR]] {lo = 0 : i64, hi = 255 : i64, q_signed = false}
// CHECK-NEXT:        bfs.requant [[OUT]], [[PSUM]], [[PAR]] table [[TABLE]] residual [[RES]] addition [[PAR]] {lo = 0 : i64, hi = 255 : i64, q_signed = true}
// CHECK-NEXT:        bfs.add [[OUT]], [[ACT]], [[RES]], [[PAR]]
// CHECK-NEXT:        bfs.map [[OUT]], [[ACT]] of @in {strides = array<i64: 1, 1>, offsets = array<i64: 0, -1, 2>, channels = array<i64: 0, 16>}
// CHECK-NEXT:        bfs.map [[OUT]], [[ACT]] of @in table [[TABLE]] {
// CHECK-NEXT:        bfs.pool [[OUT]], [[ACT]] {kind = "max", kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, count_include_pad = false}
// CHECK-NEXT:        bfs.pool [[OUT]], [[ACT]] parameters [[PAR]] {kind = "average", {{.*}}count0 = 4 : i64, shift = 20 : i64, lo = 0 : i64, hi = 255 : i64}
// CHECK-NEXT:        bfs.store_tile @mid, [[OUT]]
