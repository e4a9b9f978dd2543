// RUN: esc-opt %s -p "prune-activations{threshold=4}" | filecheck %s

// A requantised tensor that a convolution reads is thresholded for all its users; one that only leaves the model is not.
func.func @f(%acc : tensor<1x2x2x2xi32>) -> (tensor<1x2x2x2x!esc.q<u8, 0.5>>, tensor<1x2x2x1x!esc.q<u8, 0.5>>) {
  %q = esc.requantize %acc {bias = #blob.dense<2xi32, [0, 0]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x2x2x2xi32> -> tensor<1x2x2x2x!esc.q<u8, 0.5>>
  %c = esc.conv2d %q {weight = #blob.dense<1x1x1x2xi8, [1, -1]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x2x2x2x!esc.q<u8, 0.5>> -> tensor<1x2x2x1xi32>
  %r = esc.requantize %c {bias = #blob.dense<1xi32, [0]>, mult = #blob.dense<1xi32, [1]>, shift = #blob.dense<1xui8, [1]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x2x2x1xi32> -> tensor<1x2x2x1x!esc.q<u8, 0.5>>
  func.return %q, %r : tensor<1x2x2x2x!esc.q<u8, 0.5>>, tensor<1x2x2x1x!esc.q<u8, 0.5>>
}
// CHECK:      %q = esc.requantize
// CHECK-NEXT: [[T:%.*]] = prune.threshold %q {threshold = 4 : i64}
// CHECK-NEXT: %c = esc.conv2d [[T]]
// CHECK-NEXT: %r = esc.requantize %c
// CHECK-NEXT: func.return [[T]], %r
