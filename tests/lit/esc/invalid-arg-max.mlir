// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s
// An ArgMax names an axis of its scores, and its result has that axis with extent 1 or without it.

func.func @main(%x: tensor<1x4x2xf32>) {
  %0 = esc.arg_max %x {axis = 3 : i64} : tensor<1x4x2xf32> -> tensor<1x4xi64>
  func.return
}
// CHECK: ArgMax axis 3 is outside rank 3

// -----

func.func @main(%x: tensor<1x4x2xf32>) {
  %0 = esc.arg_max %x {axis = 1 : i64} : tensor<1x4x2xf32> -> tensor<1x4xi64>
  func.return
}
// CHECK: [1, 4] is no shape of the 2 largest of [1, 4, 2] along axis 1

// -----

func.func @main(%x: tensor<1x4x2xf32>) {
  %0 = esc.arg_max %x {axis = 1 : i64} : tensor<1x4x2xf32> -> tensor<1x2xf32>
  func.return
}
// CHECK: output
// CHECK-SAME: i64
