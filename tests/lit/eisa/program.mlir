// RUN: esc-opt %s | esc-opt | filecheck %s
// RUN: esc-opt %s --print-op-generic | esc-opt | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<4xui8, [1, 2, 3, 4]>, arena = 16384 : i64} {
  eisa.tensor @t0 "x" : 8x8x3 !esc.q<u8, 0.5> raw segment 8 at 4096
  eisa.tensor @t1 "conv" : 8x8x16 !esc.q<u8, 0.25> bitmap segment 8 at 8192
  eisa.input "x" @t0 {shape = array<i64: 1, 3, 8, 8>}
  eisa.output "y" @t1 {shape = array<i64: 1, 16, 8, 8>}
  eisa.layer "conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 27648 : i64, weights = 432 : i64, rodata = array<i64: 0, 4>} {
    eisa.load.bytes dram=0x0, size=4, pad=coef, dst=0x40 ; signal
    eisa.load.par size=4, kn=16, block=8, dst=0x20
    eisa.load.weights dram=0x2, size=2, table=0x0, count=432
    eisa.load.coef size=4, coef=0x40
    eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=3, segment=8, h=8, w=8, cn=3, act_w=8, act_c=3
    eisa.conv.dense act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, pt=-1, pl=1, oh=8, ow=8, kt=16, kn=16, cpg=3, kpg=16, groups=2 ; wait load>=1, signal
    eisa.conv.dw act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, oh=8, ow=8, kt=3, kn=3, kpg=1, accumulate=1
    eisa.conv.esc act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, oh=8, ow=8, kt=16, kn=16, size=4, v=6, basis=0x10, ic_shift=1, groups=2
    eisa.post.requant oh=8, ow=8, kt=16, kn=16, out=0x10000, out_w=8, out_c=16, lo=-128, hi=127 ; wait load>=1, compute>=1
    eisa.post.add act_w=8, act_c=16, res_w=8, res_c=16, oh=8, ow=8, kn=16, out=0x10000, out_w=8, out_c=16
    eisa.post.map act_w=8, act_c=3, ih=8, iw=8, ic=3, oh=8, ow=8, kn=3, sy=1, sx=1, dc=-3, out=0x10000, out_w=8, out_c=3
    eisa.post.pool act_w=8, act_c=3, ih=8, iw=8, ic=3, r=2, s=2, sy=2, sx=2, kind=average, oh=4, ow=4, kn=3, out=0x10000, out_w=4, out_c=3, shift=20 ; signal
    eisa.store.act dram=0x2000, format=bitmap, tensor_w=8, tensor_c=16, segment=8, h=8, w=8, cn=16, act=0x10000, act_w=8, act_c=16 ; wait post>=1
  }
  eisa.end
}

// CHECK:       eisa.program attributes {target = "esc1", rodata = #blob.dense<4xui8, [1, 2, 3, 4]>, arena = 16384 : i64} {
// CHECK-NEXT:    eisa.tensor @t0 "x" : 8x8x3 !esc.q<u8, 0.5> raw segment 8 at 4096
// CHECK-NEXT:    eisa.tensor @t1 "conv" : 8x8x16 !esc.q<u8, 0.25> bitmap segment 8 at 8192
// CHECK-NEXT:    eisa.input "x" @t0 {shape = array<i64: 1, 3, 8, 8>}
// CHECK-NEXT:    eisa.output "y" @t1 {shape = array<i64: 1, 16, 8, 8>}
// CHECK-NEXT:    eisa.layer "conv" "dense" -> @t1 attributes {nodes = ["/conv"], macs = 27648 : i64, weights = 432 : i64, rodata = array<i64: 0, 4>} {
// CHECK-NEXT:      eisa.load.bytes size=4, pad=coef, dst=0x40 ; signal
// CHECK-NEXT:      eisa.load.par size=4, kn=16, block=8, dst=0x20
// CHECK-NEXT:      eisa.load.weights dram=0x2, size=2, count=432
// CHECK-NEXT:      eisa.load.coef size=4, coef=0x40
// CHECK-NEXT:      eisa.load.act dram=0x1000, format=raw, tensor_w=8, tensor_c=3, segment=8, h=8, w=8, cn=3, act_w=8, act_c=3
// CHECK-NEXT:      eisa.conv.dense act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, pt=-1, pl=1, oh=8, ow=8, kt=16, kn=16, cpg=3, kpg=16, groups=2 ; wait load>=1, signal
// CHECK-NEXT:      eisa.conv.dw act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, oh=8, ow=8, kt=3, kn=3, kpg=1, accumulate=1
// CHECK-NEXT:      eisa.conv.esc act_w=8, act_c=3, ih=8, iw=8, ic=3, r=3, s=3, sy=1, sx=1, oh=8, ow=8, kt=16, kn=16, size=4, v=6, basis=0x10, ic_shift=1, groups=2
// CHECK-NEXT:      eisa.post.requant oh=8, ow=8, kt=16, kn=16, out=0x10000, out_w=8, out_c=16, lo=-128, hi=127 ; wait load>=1, compute>=1
// CHECK-NEXT:      eisa.post.add act_w=8, act_c=16, res_w=8, res_c=16, oh=8, ow=8, kn=16, out=0x10000, out_w=8, out_c=16
// CHECK-NEXT:      eisa.post.map act_w=8, act_c=3, ih=8, iw=8, ic=3, oh=8, ow=8, kn=3, sy=1, sx=1, dc=-3, out=0x10000, out_w=8, out_c=3
// CHECK-NEXT:      eisa.post.pool act_w=8, act_c=3, ih=8, iw=8, ic=3, r=2, s=2, sy=2, sx=2, kind=average, oh=4, ow=4, kn=3, out=0x10000, out_w=4, out_c=3, shift=20 ; signal
// CHECK-NEXT:      eisa.store.act dram=0x2000, format=bitmap, tensor_w=8, tensor_c=16, segment=8, h=8, w=8, cn=16, act=0x10000, act_w=8, act_c=16 ; wait post>=1
// CHECK-NEXT:    }
// CHECK-NEXT:    eisa.end
// CHECK-NEXT:  }
