// RUN: esc-opt %s --parsing-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.load.act speed=3
  eisa.end
}
// CHECK: load.act has no field 'speed'

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.load.act h=99999
  eisa.end
}
// CHECK: h=99999 does not fit [0, 65535]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.tensor @t0 "x" : 8x8x3 !esc.q<u8, 0.5> sparse segment 8 at 0
  eisa.end
}
// CHECK: expected raw or bitmap, found sparse
