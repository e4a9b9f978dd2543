// RUN: esc-opt %s | esc-opt | filecheck %s
// Every operation prints, parses and verifies.

// CHECK-LABEL: func.func @dense
func.func @dense(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK-NEXT: %{{.*}} = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: %{{.*}} = esc.conv2d %{{.*}} {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32>
  %1 = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, -4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<i8, 0.5>> -> tensor<1x4x4x2xi32>
  // CHECK-NEXT: %{{.*}} = esc.requantize %{{.*}} {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  %2 = esc.requantize %1 {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [30, 31]>, lo = 0 : i64, hi = 200 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 0.25>>
  // CHECK-NEXT: %{{.*}} = esc.requantize %{{.*}}, %{{.*}} : tensor<1x4x4x2x!esc.q<i8, 0.5>> {bias = {{.*}}, mid = !esc.q<u8, 0.25>, mult_a = 3 : i64, mult_b = 5 : i64, add_shift = 3 : i64, add_lo = -128 : i64, add_hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0e-05>>
  %3 = esc.requantize %1, %0 : tensor<1x4x4x2x!esc.q<i8, 0.5>> {bias = #blob.dense<2xi32, [7, -8]>, mult = #blob.dense<2xi32, [1, 1]>, shift = #blob.dense<2xui8, [1, 1]>, lo = 0 : i64, hi = 200 : i64, mid = !esc.q<u8, 0.25>, mult_a = 3 : i64, mult_b = 5 : i64, add_shift = 3 : i64, add_lo = -128 : i64, add_hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0e-05>>
  // CHECK-NEXT: %{{.*}} = esc.add %{{.*}}, %{{.*}} {mult_a = 3 : i64, mult_b = 5 : i64, shift = 3 : i64, lo = -100 : i64, hi = 100 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.25>>, tensor<1x4x4x2x!esc.q<i8, 1.0e-05>> -> tensor<1x4x4x2x!esc.q<i8, 0.75>>
  %4 = esc.add %2, %3 {mult_a = 3 : i64, mult_b = 5 : i64, shift = 3 : i64, lo = -100 : i64, hi = 100 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.25>>, tensor<1x4x4x2x!esc.q<i8, 1.0e-05>> -> tensor<1x4x4x2x!esc.q<i8, 0.75>>
  // CHECK-NEXT: %{{.*}} = esc.dequantize %{{.*}} : tensor<1x4x4x2x!esc.q<i8, 0.75>> -> tensor<1x2x4x4xf32>
  %5 = esc.dequantize %4 : tensor<1x4x4x2x!esc.q<i8, 0.75>> -> tensor<1x2x4x4xf32>
  // CHECK-NEXT: %{{.*}} = esc.softmax %{{.*}} {axis = 1 : i64, logarithm} : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %log = esc.softmax %5 {axis = 1 : i64, logarithm} : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  // CHECK-NEXT: %{{.*}} = esc.softmax %{{.*}} {axis = 1 : i64} : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %6 = esc.softmax %5 {axis = 1 : i64} : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  func.return %6 : tensor<1x2x4x4xf32>
}

// CHECK-LABEL: func.func @decomposed
func.func @decomposed(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.coeff_combine %x {coefficients = #blob.dense<1x2x2xi8, [1, 0, -1, 1]>, ic_shift = 2 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x2xi32>
  %0 = esc.coeff_combine %x {coefficients = #blob.dense<1x2x2xi8, [1, 0, -1, 1]>, ic_shift = 2 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x1x2xi32>
  // CHECK-NEXT: %{{.*}} = esc.basis_conv2d %{{.*}} {basis = #blob.dense<2x2x2xi8, [1, 2, 3, 4, 5, 6, 7, 8]>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>} : tensor<1x4x4x1x2xi32> -> tensor<1x2x2x1xi32>
  %1 = esc.basis_conv2d %0 {basis = #blob.dense<2x2x2xi8, [1, 2, 3, 4, 5, 6, 7, 8]>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 0, 0>} : tensor<1x4x4x1x2xi32> -> tensor<1x2x2x1xi32>
  func.return
}

// CHECK-LABEL: func.func @post
func.func @post(%x: tensor<1x4x4x2x!esc.q<u8, 0.5>>) {
  // CHECK-NEXT: %{{.*}} = esc.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x2x2x2x!esc.q<u8, 0.5>>
  %0 = esc.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x2x2x2x!esc.q<u8, 0.5>>
  // CHECK-NEXT: %{{.*}} = esc.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, count_include_pad = false, mult = #blob.dense<4xi32, [8, 4, 3, 2]>, count0 = 1 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x3x2x!esc.q<u8, 0.5>>
  %1 = esc.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, count_include_pad = false, mult = #blob.dense<4xi32, [8, 4, 3, 2]>, count0 = 1 : i64, shift = 3 : i64, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x3x3x2x!esc.q<u8, 0.5>>
  // CHECK-NEXT: %{{.*}} = esc.lookup %x {table = #blob.dense<256xi8, "0x[[TABLE:0{512}]]">} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  %2 = esc.lookup %x {table = #blob.dense<256xi8, "0x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000">} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x!esc.q<i8, 0.5>>
  // CHECK-NEXT: %{{.*}} = esc.concat %x, %x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x4x!esc.q<u8, 0.5>>
  %3 = esc.concat %x, %x : tensor<1x4x4x2x!esc.q<u8, 0.5>>, tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x4x!esc.q<u8, 0.5>>
  // CHECK-NEXT: %{{.*}} = esc.slice %x {offsets = array<i64: 1, -1, 0>, strides = array<i64: 2, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x2x6x1x!esc.q<u8, 0.5>>
  %4 = esc.slice %x {offsets = array<i64: 1, -1, 0>, strides = array<i64: 2, 1>} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x2x6x1x!esc.q<u8, 0.5>>
  func.return
}
