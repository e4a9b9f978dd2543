// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.mul"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216>}> : () -> ()
  eisa.end
}
// CHECK: post.mul: addpar=16777216 does not fit [0, 16777215]
