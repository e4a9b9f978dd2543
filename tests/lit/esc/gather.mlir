// RUN: esc-opt %s | esc-opt | filecheck %s

// CHECK-LABEL: func.func @sparse
func.func @sparse(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.gather_conv2d %x {sparse = #blob.dense<1x1x3x2xi8, [1, 0, 0, -2, 0, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 4 : i64, bundle = 2 : i64, spread = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  %0 = esc.gather_conv2d %x {sparse = #blob.dense<1x1x3x2xi8, [1, 0, 0, -2, 0, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 1>, banks = 4 : i64, bundle = 2 : i64, spread = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1xi32>
  func.return
}
