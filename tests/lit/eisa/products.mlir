// RUN: esc-opt %s | esc-opt | filecheck %s
// A product with a gate that has one position.

eisa.program attributes {target = "esc1", rodata = #blob.dense<1xui8, [0]>, arena = 0 : i64} {
  eisa.post.mul act_w=8, act_c=16, res_w=1, res_c=16, res_signed=1, one_row=1, one_column=1, oh=8, ow=8, kn=16, out=0x10000, out_w=8, out_c=16
  eisa.end
}
// CHECK: eisa.post.mul act_w=8, act_c=16, res_w=1, res_c=16, res_signed=1, one_row=1, one_column=1, oh=8, ow=8, kn=16, out=0x10000, out_w=8, out_c=16
