// RUN: esc-opt %s | esc-opt | filecheck %s

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x2x1x1x2xi8, [-2, 1, 0, 4]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  %0 = esc.smartexchange_conv2d %x {coefficients = #blob.dense<1x2x1x1x2xi8, [-2, 1, 0, 4]>, vectors = #blob.dense<1x2x3x1xi8, [1, 2, 3, -4, 5, -6]>, shift = 1 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
