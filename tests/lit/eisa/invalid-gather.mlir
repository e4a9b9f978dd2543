// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", arena = 0 : i64} {
  "eisa.conv.gather"() <{fields = #eisa.fields<0>}> : () -> ()
  "eisa.end"() <{fields = #eisa.fields<0, 0, 0, 0, 0>}> : () -> ()
}
// CHECK: conv.gather has 35 fields, found 1
