// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s
// What each operation demands, and how it says so.

func.func @main(%x: tensor<1x4xf32>) {
  %0 = esc.quantize %x : tensor<1x4xf32> -> tensor<1x1x1x4x!esc.q<u8, 0.0>>
  func.return
}
// CHECK: esc.q: scale must be positive and finite, found 0.0

// -----

func.func @main(%x: tensor<1x2x4x4xf32>) {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x2x4x4x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: input [1, 2, 4, 4] and output [1, 2, 4, 4] do not agree (NCHW -> NHWC)

// -----

func.func @main(%x: tensor<1x2x4x4xf32>) {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2xi8>
  func.return
}
// CHECK: expected a tensor of !esc.q, found tensor<1x4x4x2xi8>

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.dequantize %x : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x31xf32>
  func.return
}
// CHECK: input and output have different numbers of elements

// -----

func.func @main(%x: tensor<1x4xf32>) {
  %0 = esc.softmax %x {axis = 2 : i64} : tensor<1x4xf32> -> tensor<1x4xf32>
  func.return
}
// CHECK: axis 2 outside rank 2

// -----

func.func @main(%x: tensor<1x4xf32>) {
  %0 = esc.softmax %x {axis = 1 : i64} : tensor<1x4xf32> -> tensor<1x5xf32>
  func.return
}
// CHECK: input and output types differ

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.conv2d %x {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 2 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: weight [2, 1, 1, 2] and groups 2 do not fit 2 input channels

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.conv2d %x {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 1, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: output must be [1, 5, 4, 2], found [1, 4, 4, 2]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.conv2d %x {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: -1, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: pads must be four non-negative integers [top, left, bottom, right], found [-1, 0, 0, 0]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.conv2d %x {weight = #blob.dense<2x1x1x2xi32, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: weight must be int8[K,R,S,C/groups], found int32[2, 1, 1, 2]

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.conv2d %x {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2xi32>
  func.return
}
// CHECK: expected a tensor of !esc.q, found tensor<1x4x4x2xi32>

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.coeff_combine %x {coefficients = #blob.dense<1x2x2xi8, [1, 0, 3, 0]>, ic_shift = 0 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x2xi32>
  func.return
}
// CHECK: coefficients must be 0 or of magnitude 1, 2 or 4, found 3

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.coeff_combine %x {coefficients = #blob.dense<1x2x2xi8, [1, 0, 1, 0]>, ic_shift = 32 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x2xi32>
  func.return
}
// CHECK: ic_shift must be in [0, 31], found 32

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.coeff_combine %x {coefficients = #blob.dense<1x2x2xi8, [1, 0, 1, 0]>, ic_shift = 0 : i64, ic_bits = 32 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x2xi32>
  func.return
}
// CHECK: ic_bits must be in [8, 24], found 32

// -----

func.func @main(%x: tensor<1x4x4x1x2xi32>) {
  %0 = esc.basis_conv2d %x {basis = #blob.dense<1x2x2xi8, [1, 2, 3, 4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x1x2xi32> -> tensor<1x3x3x1xi32>
  func.return
}
// CHECK: basis must be int8[2,R,S], found int8[1, 2, 2]

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.requantize %x {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, -1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: mult must not be negative

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.requantize %x {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 63]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: shift must be in [1, 62]

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.requantize %x {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = -1 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: clamp [-1, 200] must lie in [0, 255]

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.requantize %x {bias = #blob.dense<1xi32, [7]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: bias must be int32[2], found int32[1]

// -----

func.func @main(%x: tensor<1x4x4x2xi32>) {
  %0 = esc.requantize %x {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 200 : i64, mult_a = 1 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: addition parameters given without a residual

// -----

func.func @main(%x: tensor<1x4x4x2xi32>, %r: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.requantize %x, %r : tensor<1x4x4x2x!esc.q<u8, 0.5>> {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 200 : i64, mult_a = 1 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: a residual needs mid, mult_a, mult_b, add_shift, add_lo and add_hi

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>, %r: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.add %x, %r {mult_a = 1 : i64, mult_b = 2147483648 : i64, shift = 1 : i64, lo = 0 : i64, hi = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: multiplier must be in [0, 2^31), found 2147483648

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>, %r: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.add %x, %r {mult_a = 1 : i64, mult_b = 1 : i64, shift = 0 : i64, lo = 0 : i64, hi = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: shift of the addition must be in [1, 62], found 0

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x2x2x2x!esc.q<u8, 0.25>>
  func.return
}
// CHECK: max_pool keeps the element type

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x2x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: 3 output rows do not fit 4 input rows, kernel 2, stride 2

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, count_include_pad = false, mult = #blob.dense<3xi32, [8, 4, 3]>, count0 = 1 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x3x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: mult must cover counts 1..4, found 1..3

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, count_include_pad = false, mult = #blob.dense<4xi32, [8, 4, 3, -1]>, count0 = 1 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x3x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: mult must be a non-empty vector of non-negative int32

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.lookup %x {table = #blob.dense<2xui8, [0, 1]>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: table must be uint8[256], found uint8[2]

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>, %y: tensor<1x4x4x2x!esc.q<i8, 0.5>>) {
  %0 = esc.concat %x, %y : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x4x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: operand tensor<1x4x4x2x!esc.q<i8, 0.5>> does not fit the result tensor<1x4x4x4x!esc.q<u8, 0.5>>

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.concat %x, %x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x5x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: operands have 4 channels, the result 5

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.slice %x {offsets = array<i64: 0, 0, 0>, strides = array<i64: 0, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  func.return
}
// CHECK: slice needs offsets [y, x, c] and two positive strides

// -----

func.func @main(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  %0 = esc.slice %x {offsets = array<i64: 0, 0, 0>, strides = array<i64: 1, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  func.return
}
// CHECK: slice keeps the element type
