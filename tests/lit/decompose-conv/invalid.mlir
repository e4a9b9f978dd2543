// RUN: not esc-opt %s -p 'decompose-conv{scheme="escalat"}' 2>&1 | filecheck %s --check-prefix=SCHEME
// RUN: not esc-opt %s -p 'decompose-conv{scheme="escalate" basis=0 planes=-1}' 2>&1 | filecheck %s --check-prefix=COUNT
// RUN: not esc-opt %s -p 'decompose-conv{scheme="escalate" basis=200}' 2>&1 | filecheck %s --check-prefix=FIT
// RUN: not esc-opt %s -p 'decompose-conv{calibration="nowhere.npz"}' 2>&1 | filecheck %s --check-prefix=FILE
// RUN: not esc-opt %s -p 'decompose-conv{rate=-0.5 cycle-rate=-1.0}' 2>&1 | filecheck %s --check-prefix=RATE

// SCHEME: error: {{.*}}unknown compression scheme 'escalat'; did you mean 'escalate'?
// SCHEME-NEXT: note: installed: {{.*}}dense, escalate{{.*}}; a package adds one through the entry points 'escc.schemes'
// COUNT: error: {{.*}}decompose-conv: basis must be at least 1, found 0
// COUNT-NEXT: error: {{.*}}decompose-conv: planes must be at least 1, found -1
// RATE: error: {{.*}}decompose-conv: rate must be a number not below 0, found -0.5
// RATE-NEXT: error: {{.*}}decompose-conv: cycle-rate must be a number not below 0, found -1.0
// Every layer that does not fit, at once.
// FIT: error: {{.*}}node 'first' (Conv): 200 virtual bases do not fit the scratchpads of target 'esc1'; requires at most {{[0-9]+}}
// FIT-NEXT: error: {{.*}}node 'second' (Conv): 200 virtual bases
// FIT-NEXT: note: lower --basis or --planes
// FILE: error: {{.*}}nowhere.npz: No such file or directory
func.func @main(%x : tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %q = esc.quantize %x : tensor<1x1x4x4xf32> -> tensor<1x4x4x1x!esc.q<i8, 0.5>>
  %ba = esc.conv2d %q {weight = #blob.dense<1x7x7x1xi8, "0x01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101">, strides = array<i64: 1, 1>, pads = array<i64: 3, 3, 3, 3>, groups = 1 : i64} : tensor<1x4x4x1x!esc.q<i8, 0.5>> -> tensor<1x4x4x1xi32> loc("first")
  %b = esc.requantize %ba {bias = #blob.dense<1xi32, [0]>, mult = #blob.dense<1xi32, [1073741824]>, shift = #blob.dense<1xui8, [37]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x1xi32> -> tensor<1x4x4x1x!esc.q<i8, 0.5>> loc("first")
  %ca = esc.conv2d %b {weight = #blob.dense<1x7x7x1xi8, "0x01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101">, strides = array<i64: 1, 1>, pads = array<i64: 3, 3, 3, 3>, groups = 1 : i64} : tensor<1x4x4x1x!esc.q<i8, 0.5>> -> tensor<1x4x4x1xi32> loc("second")
  %c = esc.requantize %ca {bias = #blob.dense<1xi32, [0]>, mult = #blob.dense<1xi32, [1073741824]>, shift = #blob.dense<1xui8, [37]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x1xi32> -> tensor<1x4x4x1x!esc.q<i8, 0.5>> loc("second")
  %y = esc.dequantize %c : tensor<1x4x4x1x!esc.q<i8, 0.5>> -> tensor<1x1x4x4xf32>
  func.return %y : tensor<1x1x4x4xf32>
}
