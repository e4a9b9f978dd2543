// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @zero(%x : tensor<1x1x1x1x!esc.q<i8, 0.5>>) {
  %y = prune.threshold %x {threshold = 0 : i64} : tensor<1x1x1x1x!esc.q<i8, 0.5>> -> tensor<1x1x1x1x!esc.q<i8, 0.5>>
  func.return
}
// CHECK: threshold must be in [1, 127], found 0

// -----

func.func @scale(%x : tensor<1x1x1x1x!esc.q<i8, 0.5>>) {
  %y = prune.threshold %x {threshold = 1 : i64} : tensor<1x1x1x1x!esc.q<i8, 0.5>> -> tensor<1x1x1x1x!esc.q<i8, 0.25>>
  func.return
}
// CHECK: input tensor<1x1x1x1x!esc.q<i8, 0.5>> and output tensor<1x1x1x1x!esc.q<i8, 0.25>> differ
