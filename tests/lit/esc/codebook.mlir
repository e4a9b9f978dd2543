// RUN: esc-opt %s | esc-opt | filecheck %s

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [-2, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  %0 = esc.codebook_conv2d %x {codes = #blob.dense<1x1x1x2xi8, [-2, 1]>, book = #blob.dense<2x3x1xi8, [1, 2, 3, -4, 5, -6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
