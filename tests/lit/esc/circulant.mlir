// RUN: esc-opt %s | esc-opt | filecheck %s

// CHECK-LABEL: func.func @blocks
func.func @blocks(%x: tensor<1x4x4x3x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x2x2xi8, [1, 2, 3, -4]>, channels = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  %0 = esc.circulant_conv2d %x {values = #blob.dense<1x1x1x2x2xi8, [1, 2, 3, -4]>, channels = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x3x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
