// RUN: esc-opt %s -p lower-to-eisa | filecheck %s

bfs.program attributes {target = "esc1", arena = 576 : i64} {
  bfs.tensor @t0 : 6x6x2 !esc.q<i8, 1.0> raw at 384
  bfs.tensor @t1 : 6x6x2 !esc.q<u8, 1.0> bitmap segment 6 at 0
  bfs.tensor @t2 : 3x3x2 !esc.q<u8, 1.0> bitmap segment 3 at 384
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 6, 6>}
  bfs.output "y0" @t2 {shape = array<i64: 1, 2, 3, 3>}
  bfs.constant @c0 {packed = #blob.dense<4xui8, [79, 150, 174, 189]>, pieces = array<i64: 0, 0, 0, 4, 0>, address = 0 : i64}
  bfs.constant @c1 {packed = #blob.dense<18xui8, "0x80ffffff78000000a69de00009b89b001a1a">, pieces = array<i64: 0, 0, 0, 18, 0>, address = 64 : i64}
  bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv", "/relu"], macs = 144 : i64, weights = 4 : i64} {
    %c0 = arith.constant 0 : index
    %c6 = arith.constant 6 : index
    %c2 = arith.constant 2 : index
    %act = bfs.buffer act 108 at [0]
    %out = bfs.buffer act 72 at [65536]
    %psum = bfs.buffer psum 288 at [0]
    %weights = bfs.buffer coef 4 at [0]
    %parameters = bfs.buffer par 18 at [0]
    bfs.load_weights %weights, @c0[%c0 : %c2, %c0 : %c2]
    bfs.load_parameters %parameters, @c1[%c0 : %c2] {block = 2 : i64}
    bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2]
    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, kpg = 2 : i64, cpg = 2 : i64, row_groups = 6 : i64}
    bfs.requant %out, %psum, %parameters {lo = 0 : i64, hi = 255 : i64, q_signed = false}
    bfs.store_tile @t1, %out
  }
  bfs.layer "/pool" "pool" -> @t2 attributes {nodes = ["/pool"], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c3 = arith.constant 3 : index
    %c2 = arith.constant 2 : index
    %c1 = arith.constant 1 : index
    %act = bfs.buffer act 108 at [65424]
    %out = bfs.buffer act 18 at [131040]
    bfs.load_tile %act, @t1[%c0 : %c3, %c0 : %c3, %c0 : %c2] {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
    bfs.open_tile %out[%c0 : %c3, %c0 : %c3, %c0 : %c2]
    bfs.pool %out, %act {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, kind = "max", count_include_pad = false}
    bfs.store_tile @t2, %out
  }
}

// CHECK:       eisa.program attributes {target = "esc1", rodata = #blob.dense<82xui8, "{{.*}}">, arena = 576 : i64} {
// CHECK-NEXT:    eisa.tensor @t0 "x" : 6x6x2 !esc.q<i8, 1.0> raw segment 6 at 4480
// CHECK-NEXT:    eisa.tensor @t1 "/conv" : 6x6x2 !esc.q<u8, 1.0> bitmap segment 6 at 4096
// CHECK-NEXT:    eisa.tensor @t2 "/pool" : 3x3x2 !esc.q<u8, 1.0> bitmap segment 3 at 4480
// CHECK-NEXT:    eisa.input "x" @t0 {shape = array<i64: 1, 2, 6, 6>}
// CHECK-NEXT:    eisa.output "y0" @t2 {shape = array<i64: 1, 2, 3, 3>}
// CHECK-NEXT:    eisa.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv", "/relu"], macs = 144 : i64, weights = 4 : i64, rodata = array<i64: 0, 4, 64, 18>} {
// CHECK-NEXT:      eisa.load.bytes size=4, pad=coef
// CHECK-NEXT:      eisa.load.bytes dram=0x40, size=18, pad=par
// CHECK-NEXT:      eisa.load.act dram=0x1180, format=raw, tensor_w=6, tensor_c=2, segment=6, h=6, w=6, cn=2, act_w=6, act_c=2
// CHECK-NEXT:      eisa.conv.dense act_w=6, act_c=2, ih=6, iw=6, ic=2, signed=1, r=1, s=1, sy=1, sx=1, oh=6, ow=6, kt=2, kn=2, cpg=2, kpg=2, groups=6
// CHECK-NEXT:      eisa.post.requant oh=6, ow=6, kt=2, kn=2, out=0x10000, out_w=6, out_c=2, hi=255
// CHECK-NEXT:      eisa.store.act dram=0x1000, format=bitmap, tensor_w=6, tensor_c=2, segment=6, h=6, w=6, cn=2, act=0x10000, act_w=6, act_c=2
// CHECK-NEXT:    }
// CHECK-NEXT:    eisa.layer "/pool" "pool" -> @t2 attributes {nodes = ["/pool"], macs = 0 : i64, weights = 0 : i64, rodata = array<i64>} {
// CHECK-NEXT:      eisa.load.act dram=0x1000, format=bitmap, tensor_w=6, tensor_c=2, segment=6, h=6, w=6, cn=2, act=0xff90, act_w=6, act_c=2
// CHECK-NEXT:      eisa.post.pool act=0xff90, act_w=6, act_c=2, ih=6, iw=6, ic=2, r=2, s=2, sy=2, sx=2, kind=max, oh=3, ow=3, kn=2, out=0x1ffe0, out_w=3, out_c=2
// CHECK-NEXT:      eisa.store.act dram=0x1180, format=bitmap, tensor_w=3, tensor_c=2, segment=3, h=3, w=3, cn=2, act=0x1ffe0, act_w=3, act_c=2
// CHECK-NEXT:    }
// CHECK-NEXT:    eisa.end
// CHECK-NEXT:  }
