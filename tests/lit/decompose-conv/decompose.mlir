// RUN: esc-opt %s -p 'decompose-conv{scheme="escalate" basis=1 planes=1 samples=4}' --print-debuginfo | filecheck %s

// Weights that are ternary already are found exactly; the node name stays; the requantisation takes the scales over.
// CHECK-LABEL: func.func @main
func.func @main(%x : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32> {
  // CHECK: %[[Q:.*]] = esc.quantize
  %q = esc.quantize %x : tensor<1x2x2x2xf32> -> tensor<1x2x2x2x!esc.q<i8, 0.015625>> loc("in")
  // CHECK-NEXT: %[[IC:.*]] = esc.coeff_combine %[[Q]] {coefficients = #blob.dense<2x1x2xi8, [1, -1, 1, 0]>, ic_shift = 0 : i64, ic_bits = 16 : i64} : tensor<1x2x2x2x!esc.q<i8, 0.015625>> -> tensor<1x2x2x2x1xi32> loc("conv")
  // CHECK-NEXT: %[[ACC:.*]] = esc.basis_conv2d %[[IC]] {basis = #blob.dense<1x1x1xi8, [127]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x2x2x2x1xi32> -> tensor<1x2x2x2xi32> loc("conv")
  %acc = esc.conv2d %q {weight = #blob.dense<2x1x1x2xi8, [100, -100, 50, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x2x2x2x!esc.q<i8, 0.015625>> -> tensor<1x2x2x2xi32> loc("conv")
  // 2^-7 * 100/127 and 2^-7 * 50/127 as multipliers (of float32 scales); biases 640 * 100/127 and 0.
  // CHECK-NEXT: esc.requantize %[[ACC]] {bias = #blob.dense<2xi32, [813, 0]>, mult = #blob.dense<2xi32, [1690931968, 1690931968]>, shift = #blob.dense<2xui8, [38, 39]>, lo = -128 : i64, hi = 127 : i64} : {{.*}} loc("relu")
  %y = esc.requantize %acc {bias = #blob.dense<2xi32, [640, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [37, 37]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x2x2x2xi32> -> tensor<1x2x2x2x!esc.q<i8, 0.5>> loc("relu")
  %z = esc.dequantize %y : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xf32> loc("out")
  func.return %z : tensor<1x2x2x2xf32>
}
