// RUN: esc-opt %s -p fuse-epilogues | filecheck %s
// Table and residual move into the requantisation; its accumulator follows it; locations are united, the main node first.

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<1x2x4x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) {
  // CHECK-NEXT: [[X:%[0-9]+]] = esc.quantize
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  %a = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32> loc("a")
  %1 = esc.requantize %a {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>> loc("a")
  // CHECK-NEXT: [[A:%[a-z0-9]+]] = esc.conv2d [[X]] {weight = #blob.dense<2x1x1x2xi8, [5, 6, 7, 8]>
  // CHECK-NEXT: [[B:%[a-z0-9]+]] = esc.requantize [[A]] {bias = {{.*}}, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0>> loc("b")
  %b = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [5, 6, 7, 8]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32> loc("b")
  %2 = esc.requantize %b {bias = #blob.dense<2xi32, [0, 0]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0>> loc("b")
  %3 = esc.lookup %1 {table = #blob.dense<256xi8, "0x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000">} : tensor<1x4x4x2x!esc.q<u8, 0.25>> -> tensor<1x4x4x2x!esc.q<i8, 0.5>> loc("tanh")
  // CHECK-NEXT: [[C:%[a-z0-9]+]] = esc.conv2d [[X]] {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>
  // CHECK-NEXT: [[D:%[a-z0-9]+]] = esc.requantize [[C]], [[B]] : tensor<1x4x4x2x!esc.q<i8, 1.0>> {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [3, 3]>, lo = 0 : i64, hi = 200 : i64, table = #blob.dense<256xi8, {{.*}}>, mid = !esc.q<i8, 0.5>, mult_a = 5 : i64, mult_b = 3 : i64, add_shift = 3 : i64, add_lo = 0 : i64, add_hi = 255 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.75>> loc(fused["a", "tanh", "add"])
  %4 = esc.add %2, %3 {mult_a = 3 : i64, mult_b = 5 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<i8, 1.0>>, tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.75>> loc("add")
  // CHECK-NEXT: esc.dequantize [[D]]
  // CHECK-NEXT: esc.dequantize [[B]]
  %5 = esc.dequantize %4 : tensor<1x4x4x2x!esc.q<u8, 0.75>> -> tensor<1x2x4x4xf32>
  %6 = esc.dequantize %2 : tensor<1x4x4x2x!esc.q<i8, 1.0>> -> tensor<1x2x4x4xf32>
  func.return %5, %6 : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>
}
