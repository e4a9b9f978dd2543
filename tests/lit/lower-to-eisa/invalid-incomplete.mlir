// A layer must do all that it is there for.
// RUN: esc-opt %s -p lower-to-eisa --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c5, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile reads rows 0..7; 0..6 are loaded

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c5, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile reads columns 0..7; 0..6 are loaded

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c1, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile reads weights of channels 0..1; 0..0 are loaded

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c1] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile reads parameters of channels 0..1; 0..0 are loaded

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 3 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': partial sums hold 2 of 3 input channels

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64, accumulate}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a convolution adds input channels from 0 on where 2 have been added

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c5, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': instruction 5 'store.act {{.*}}': reads bytes of ACT that the layer has not written

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': instruction 6 'store.act {{.*}}': reads bytes of ACT that the layer has not written

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    
  }
}
// CHECK: layer '/conv': row 0 of the output @t1 is not stored whole

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c5, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c5, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': row 5 of the output @t1 is not stored whole

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c1 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c1 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c1 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile stores rows 1..6 of tensor @t1, which has 6

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.map %out, %act of @t0 {strides = array<i64: 1, 1>, offsets = array<i64: 1, 1, 0>, channels = array<i64: 0, 2>}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': instruction 1 'load.bytes {{.*}}': loads what nothing reads

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_tile %act, @t0[%c0 : %c5, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.map %out, %act of @t0 {strides = array<i64: 1, 1>, offsets = array<i64: 2, 1, 0>, channels = array<i64: 0, 2>}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': a tile reads rows 2..7; 0..6 are loaded

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.constant @c2 {packed = #blob.dense<1xui8, [1]>, pieces = array<i64: 0, 0, 0, 1, 0>, address = 82 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: constant @c2 is read by no layer

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 128 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: constant @c1 lies at 128, the constants before it end at 36

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 20 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: constant @c1 overlaps another one

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000000000000000000000000000000000000000000000000000000000000000000000000">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 20 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: constant @c1 overlaps another one

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 300 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': instruction 3 'conv.dense': groups=300 does not fit [0, 255]

// -----

bfs.program attributes {target = "esc1", arena = 256 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 40 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: layer '/conv': instruction 3 'conv.dense {{.*}}': groups=40 exceed the 32 blocks

// -----

bfs.program attributes {target = "esc1", arena = 384 : i64} {
  bfs.tensor @t0 : 8x8x2 !esc.q<i8, 1.0> raw at 0
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> raw at 128
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 8>}
  bfs.output "y" @t1 {shape = array<i64: 1, 2, 6, 6>}
  bfs.constant @c0 {packed = #blob.dense<36xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223">, pieces = array<i64: 0, 0, 0, 36, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.tensor @t2 : 6x6x2 !esc.q<u8, 1.0> raw at 256
  bfs.layer "/dead" "map" -> @t2 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c6 = arith.constant 6 : index
    %c2 = arith.constant 2 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.map %out, %act of @t0 {strides = array<i64: 1, 1>, offsets = array<i64: 1, 1, 0>, channels = array<i64: 0, 2>}
    bfs.store_tile @t2, %out
  }
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c5 = arith.constant 5 : index
    %c6 = arith.constant 6 : index
    %act = bfs.buffer act 256 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 36 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 1 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
}
// CHECK: tensor @t2 is computed, but nothing reads it
