// RUN: not esc-opt %s -p eisa-legalize 2>&1 | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<64xui8, "0x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000">, arena = 4096 : i64} {
  eisa.tensor @t0 "x" : 8x8x4 !esc.q<u8, 0.5> raw segment 8 at 4096
  eisa.tensor @t1 "y" : 8x8x4 !esc.q<u8, 0.5> raw segment 8 at 4352
  eisa.input "x" @t0 {shape = array<i64: 1, 4, 8, 8>}
  eisa.output "y" @t1 {shape = array<i64: 1, 4, 8, 8>}
  eisa.layer "copy" "map" -> @t1 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64, rodata = array<i64>} {
    eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=4, segment=8, h=8, w=8, cn=4, act_w=8, act_c=4 ; signal
    eisa.post.map act_w=8, act_c=4, ih=8, iw=8, ic=4, oh=8, ow=8, kn=4, sy=1, sx=1, out=0x10000, out_w=8, out_c=4
    eisa.post.map act_w=8, act_c=4, ih=8, iw=8, ic=4, oh=8, ow=8, kn=4, sy=1, sx=1, out=0x11000, out_w=8, out_c=4 ; signal
    eisa.store.act dram=0x1100, format=raw, tensor_w=8, tensor_c=4, segment=8, h=8, w=8, cn=4, act=0x10000, act_w=8, act_c=4 ; wait post>=1
  }
  eisa.end
}

// CHECK: error: {{.*}}race: instruction 1 {{.*}}reads act[0x0, 0x{{.*}}) while instruction 0 {{.*}}may still be writing it
// CHECK: error: {{.*}}race: instruction 2
// CHECK: note: the program cannot run on this target
