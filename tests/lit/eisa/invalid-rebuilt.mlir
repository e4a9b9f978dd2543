// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", arena = 0 : i64} {
  "eisa.load.se"() <{fields = #eisa.fields<0>}> : () -> ()
  "eisa.end"() <{fields = #eisa.fields<0, 0, 0, 0, 0>}> : () -> ()
}
// CHECK: load.se has {{[0-9]+}} fields, found 1

// -----

eisa.program attributes {target = "esc1", arena = 0 : i64} {
  "eisa.load.circ"() <{fields = #eisa.fields<0>}> : () -> ()
  "eisa.end"() <{fields = #eisa.fields<0, 0, 0, 0, 0>}> : () -> ()
}
// CHECK: load.circ has {{[0-9]+}} fields, found 1

// -----

eisa.program attributes {target = "esc1", arena = 0 : i64} {
  "eisa.conv.circ"() <{fields = #eisa.fields<0>}> : () -> ()
  "eisa.end"() <{fields = #eisa.fields<0, 0, 0, 0, 0>}> : () -> ()
}
// CHECK: conv.circ has {{[0-9]+}} fields, found 1
