// Two layers side by side: the second one is a step behind, and the window of its last tile crosses the end of the ring
// of six rows. They count as one layer, which computes what the second one does.
// RUN: esc-opt %s -p plan-memory,lower-to-eisa | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 8x2x2 !esc.q<u8, 1.0> raw
  bfs.tensor @t1 : 8x2x2 !esc.q<u8, 1.0> raw resident rows 6
  bfs.tensor @t2 : 8x2x2 !esc.q<u8, 1.0> raw
  bfs.input "x" @t0 {shape = array<i64: 1, 2, 8, 2>}
  bfs.output "y0" @t2 {shape = array<i64: 1, 2, 8, 2>}
  bfs.bands attributes {delays = array<i64: 0, 1>} {
    bfs.layer "/first" "pool" -> @t1 attributes {nodes = ["/first"], macs = 0 : i64, weights = 0 : i64} {
      %c0 = arith.constant 0 : index
      %c8 = arith.constant 8 : index
      %c2 = arith.constant 2 : index
      %act = bfs.buffer act 16
      %out = bfs.resident @t1
      bfs.for (%y, %yn) = %c0 size %c8 step 2 {
        bfs.load_tile %act, @t0[%y : %yn, %c0 : %c2, %c0 : %c2] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 2, 0, 1>}
        bfs.open_tile %out[%y : %yn, %c0 : %c2, %c0 : %c2]
        bfs.pool %out, %act {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, kind = "max", count_include_pad = false}
      }
    }
    bfs.layer "/second" "pool" -> @t2 attributes {nodes = ["/second"], macs = 0 : i64, weights = 0 : i64} {
      %c0 = arith.constant 0 : index
      %c8 = arith.constant 8 : index
      %c2 = arith.constant 2 : index
      %act = bfs.resident @t1
      %out = bfs.buffer act 8
      bfs.for (%y, %yn) = %c0 size %c8 step 2 {
        bfs.open_tile %out[%y : %yn, %c0 : %c2, %c0 : %c2]
        bfs.pool %out, %act {kernel = array<i64: 2, 1>, strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 0, 0>, kind = "max", count_include_pad = false}
        bfs.store_tile @t2, %out
      }
    }
  }
}

// CHECK:       eisa.layer "/first../second" "bands" -> @t2 attributes {nodes = ["/first", "/second"]
// CHECK-NEXT:    eisa.load.act {{.*}}segment=2, h=2
// CHECK-NEXT:    eisa.post.pool act=0x20,
// CHECK-NEXT:    eisa.load.act {{.*}}y=2, h=2
// CHECK-NEXT:    eisa.post.pool act=0x20, {{.*}}out=0x8,
// CHECK-NEXT:    eisa.post.pool act_w=2, {{.*}}ih=2, {{.*}}pt=1, {{.*}}out=0x30,
// CHECK-NEXT:    eisa.store.act {{.*}}segment=2, h=2
// CHECK-NEXT:    eisa.load.act {{.*}}y=4, h=2
// CHECK-NEXT:    eisa.post.pool act=0x20, {{.*}}out=0x10,
// CHECK-NEXT:    eisa.post.pool act=0x4, {{.*}}ih=3, {{.*}}out=0x30, out_w=2, out_c=2
// CHECK-NEXT:    eisa.store.act {{.*}}y=2, h=2
// CHECK-NEXT:    eisa.load.act {{.*}}y=6, h=2
// CHECK-NEXT:    eisa.post.pool act=0x20, {{.*}}kn=2, out_w=2, out_c=2
// CHECK-NEXT:    eisa.post.pool act=0xc, {{.*}}ih=3, {{.*}}out=0x30, out_w=2, out_c=2
// CHECK-NEXT:    eisa.store.act {{.*}}y=4, h=2
// CHECK-NEXT:    eisa.post.pool act=0x14, {{.*}}ih=3, {{.*}}out=0x30, out_w=2, out_c=2, act_turn=1, act_ring=6
// CHECK-NEXT:    eisa.store.act {{.*}}y=6, h=2
