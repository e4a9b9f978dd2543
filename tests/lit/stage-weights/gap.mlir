// The second load of layer "a" waits for the first convolution. Meanwhile the weights of layer "b" come to ACT, beyond
// the bytes that the layers use, and their own load takes them from there.
// RUN: esc-opt %s -p stage-weights | filecheck %s
// RUN: esc-opt %s -p stage-weights,insert-sync | filecheck %s --check-prefix SYNC

eisa.program attributes {target = "esc1", rodata = #blob.dense<64xui8, "0x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000">, arena = 4096 : i64} {
  eisa.tensor @t0 "x" : 8x8x4 !esc.q<u8, 0.5> raw segment 8 at 4096
  eisa.tensor @t1 "y" : 8x8x4 !esc.q<u8, 0.5> raw segment 8 at 4352
  eisa.input "x" @t0 {shape = array<i64: 1, 4, 8, 8>}
  eisa.output "y" @t1 {shape = array<i64: 1, 4, 8, 8>}
  eisa.layer "a" "escalate" -> @t1 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64, rodata = array<i64>} {
    eisa.load.coef dram=0x0, size=100, coef=0x0
    eisa.conv.esc act_w=16, act_c=64, ih=16, iw=16, ic=64, r=3, s=3, sy=1, sx=1, pt=1, pl=1, oh=16, ow=16, kt=128, kn=128, size=100, v=6, groups=1, count_bits=4
    eisa.load.coef dram=0x80, size=100, coef=0x0
    eisa.conv.esc act_w=16, act_c=64, ih=16, iw=16, ic=64, r=3, s=3, sy=1, sx=1, pt=1, pl=1, oh=16, ow=16, kt=128, kn=128, size=100, v=6, groups=1, count_bits=4
  }
  eisa.layer "b" "escalate" -> @t1 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64, rodata = array<i64>} {
    eisa.load.coef dram=0x100, size=16000, coef=0x0
    eisa.conv.esc act_w=2, act_c=64, ih=2, iw=2, ic=64, r=3, s=3, sy=1, sx=1, pt=1, pl=1, oh=2, ow=2, kt=32, kn=32, size=16000, v=6, groups=1, count_bits=4
  }
  eisa.end
}

// CHECK:      eisa.layer "a"
// CHECK-NEXT: eisa.load.coef size=100
// CHECK-NEXT: eisa.conv.esc
// CHECK-NEXT: eisa.load.bytes dram=0x100, size=16000, pad=act, dst=0x4000
// CHECK-NEXT: eisa.load.coef dram=0x80, size=100
// CHECK-NEXT: eisa.conv.esc
// CHECK:      eisa.layer "b"
// CHECK-NEXT: eisa.load.coef dram=0x100, size=16000, staged=1, act=0x4000
// CHECK-NEXT: eisa.conv.esc

// What fetches the weights waits for nothing.
// SYNC: eisa.load.bytes dram=0x100, size=16000, pad=act, dst=0x4000
// SYNC-NOT: wait
// SYNC: eisa.load.coef dram=0x80
