// RUN: esc-opt %s -p 'decompose-conv{scheme="escalate" samples=4}' | filecheck %s
// RUN: esc-opt %s -p 'decompose-conv{scheme="dense"}' | filecheck %s

// Depthwise convolutions stay dense under every scheme, and so do those whose accumulators something else reads.
// CHECK-LABEL: func.func @main
func.func @main(%x : tensor<1x2x2x2xf32>) -> (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) {
  // CHECK-NEXT: esc.quantize
  %q = esc.quantize %x : tensor<1x2x2x2xf32> -> tensor<1x2x2x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: esc.conv2d {{.*}} groups = 2
  %a = esc.conv2d %q {weight = #blob.dense<2x1x1x1xi8, [100, -100]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 2 : i64} : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xi32>
  // CHECK-NEXT: esc.requantize %{{.*}} {bias = #blob.dense<2xi32, [640, 0]>
  %b = esc.requantize %a {bias = #blob.dense<2xi32, [640, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [37, 37]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x2x2x2xi32> -> tensor<1x2x2x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: esc.conv2d {{.*}} groups = 1
  %c = esc.conv2d %b {weight = #blob.dense<2x1x1x2xi8, [100, -100, 50, 0]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xi32>
  // CHECK-NEXT: esc.requantize
  %d = esc.requantize %c {bias = #blob.dense<2xi32, [640, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [37, 37]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x2x2x2xi32> -> tensor<1x2x2x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: esc.requantize
  %e = esc.requantize %c {bias = #blob.dense<2xi32, [0, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [36, 36]>, lo = 0 : i64, hi = 127 : i64} : tensor<1x2x2x2xi32> -> tensor<1x2x2x2x!esc.q<i8, 0.5>>
  %f = esc.dequantize %b : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xf32>
  %g = esc.dequantize %d : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xf32>
  %h = esc.dequantize %e : tensor<1x2x2x2x!esc.q<i8, 0.5>> -> tensor<1x2x2x2xf32>
  func.return %f, %g, %h : tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>
}
