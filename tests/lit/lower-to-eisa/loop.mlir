// Loops unroll: the last step is clipped to two rows, instances of buffers alternate.
// RUN: esc-opt %s -p lower-to-eisa | filecheck %s

bfs.program attributes {target = "esc1", arena = 1024 : i64} {
  bfs.tensor @in : 8x8x4 !esc.q<u8, 0.5> raw at 0
  bfs.tensor @out : 8x8x4 !esc.q<i8, 0.5> raw at 256
  bfs.input "x" @in {shape = array<i64: 1, 4, 8, 8>}
  bfs.output "y" @out {shape = array<i64: 1, 4, 8, 8>}
  bfs.constant @table {packed = #blob.dense<256xui8, "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff">, pieces = array<i64: 0, 0, 0, 256, 0>, address = 0 : i64}
  bfs.layer "/sigmoid" "map" -> @out attributes {nodes = ["/sigmoid"], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %c4 = arith.constant 4 : index
    %act = bfs.buffer act 120 at [0, 128]
    %out = bfs.buffer act 96 at [65536]
    %table = bfs.buffer par 256 at [0]
    bfs.load_bytes %table, @table
    bfs.for (%y, %yn) = %c0 size %c8 step 3 {
      bfs.load_tile %act, @in[%y : %yn, %c0 : %c8, %c0 : %c4] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 4, 0, 1>}
      bfs.open_tile %out[%y : %yn, %c0 : %c8, %c0 : %c4]
      bfs.map %out, %act of @in table %table {strides = array<i64: 1, 1>, offsets = array<i64: 0, 0, 0>, channels = array<i64: 0, 4>}
      bfs.store_tile @out, %out
    }
  }
}

// CHECK:      eisa.load.bytes size=256, pad=par
// CHECK-NEXT: eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=4, segment=8, h=3, w=8, cn=4, act_w=8, act_c=4
// CHECK-NEXT: eisa.post.map act_w=8, act_c=4, ih=3, iw=8, ic=4, oh=3, ow=8, kn=4, sy=1, sx=1, out=0x10000, out_w=8, out_c=4, lut=1
// CHECK-NEXT: eisa.store.act dram=0x1100, format=raw, tensor_w=8, tensor_c=4, segment=8, h=3, w=8, cn=4, act=0x10000, act_w=8, act_c=4
// CHECK-NEXT: eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=4, segment=8, y=3, h=3, w=8, cn=4, act=0x80, act_w=8, act_c=4
// CHECK-NEXT: eisa.post.map act=0x80, act_w=8, act_c=4, ih=3, iw=8, ic=4, oh=3, ow=8, kn=4, sy=1, sx=1, out=0x10000, out_w=8, out_c=4, lut=1
// CHECK-NEXT: eisa.store.act dram=0x1100, format=raw, tensor_w=8, tensor_c=4, segment=8, y=3, h=3, w=8, cn=4, act=0x10000, act_w=8, act_c=4
// CHECK-NEXT: eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=4, segment=8, y=6, h=2, w=8, cn=4, act_w=8, act_c=4
// CHECK-NEXT: eisa.post.map act_w=8, act_c=4, ih=2, iw=8, ic=4, oh=2, ow=8, kn=4, sy=1, sx=1, out=0x10000, out_w=8, out_c=4, lut=1
// CHECK-NEXT: eisa.store.act dram=0x1100, format=raw, tensor_w=8, tensor_c=4, segment=8, y=6, h=2, w=8, cn=4, act=0x10000, act_w=8, act_c=4
// CHECK:      eisa.end
