// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.load.act"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: load.act: act=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.load.coef"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 16777216, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: load.coef: coef=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.load.bytes"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 16777216>}> : () -> ()
  eisa.end
}
// CHECK: load.bytes: dst=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.load.weights"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: load.weights: dst=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.load.par"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216>}> : () -> ()
  eisa.end
}
// CHECK: load.par: dst=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.conv.dense"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 256, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: conv.dense: groups=256 does not fit [0, 255]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.conv.dw"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65536, 0, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: conv.dw: kpg=65536 does not fit [0, 65535]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.conv.esc"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 256, 0, 0, 0, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: conv.esc: groups=256 does not fit [0, 255]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.requant"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216>}> : () -> ()
  eisa.end
}
// CHECK: post.requant: addpar=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.maxima"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 256, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: post.maxima: r=256 does not fit [0, 255]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.add"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216>}> : () -> ()
  eisa.end
}
// CHECK: post.add: addpar=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.map"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16777216, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: post.map: table=16777216 does not fit [0, 16777215]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.post.pool"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 512, 0, 0>}> : () -> ()
  eisa.end
}
// CHECK: post.pool: hi=512 does not fit [-512, 511]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  "eisa.store.act"() <{fields = #eisa.fields<0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65536>}> : () -> ()
  eisa.end
}
// CHECK: store.act: act_c=65536 does not fit [0, 65535]

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.input "x" @nowhere {shape = array<i64: 1>}
  eisa.end
}
// CHECK: @nowhere is not an eisa.tensor

// -----

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.output "x" @nowhere {shape = array<i64: 1>}
  eisa.end
}
// CHECK: @nowhere is not an eisa.tensor
