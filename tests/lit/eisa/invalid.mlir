// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.end
  eisa.end
}
// CHECK: a program ends with eisa.end, exactly once

// -----

eisa.program attributes {target = "no-such-machine", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.end
}
// CHECK: unknown target 'no-such-machine'

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.layer "l" "dense" -> @nowhere attributes {nodes = [], macs = 0 : i64, weights = 0 : i64, rodata = array<i64>} {
  }
  eisa.end
}
// CHECK: is not an eisa.tensor

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.end"() <{fields = #eisa.fields<2, 0, 0, 0, 0>}> : () -> ()
}
// CHECK: end: signal=2 does not fit [0, 1]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.end"() <{fields = #eisa.fields<0>}> : () -> ()
}
// CHECK: end has 5 fields, found 1
