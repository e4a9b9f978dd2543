// RUN: esc-opt %s -p quantize 2>&1 | filecheck %s
// A 1x1 Conv with ternary int8 weights and a grouped Conv with the same kernels for every group are one decomposed
// convolution: coefficients, bases and scales are taken as they are, nothing between the stages is quantised. No scale
// is left to choose, so nothing is calibrated and nothing warned of. Where the tensor between is quantised they are two
// convolutions.

// CHECK-NOT: warning
// CHECK: func.func @main({{.*}} attributes {prescribed, sample = {{.*}}} {
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = onnx.QuantizeLinear %x {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<ui8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8>
  %1 = onnx.DequantizeLinear %0 {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<ui8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>

  %t = onnx.Constant {value = #blob.dense<4x2x1x1xi8, [1, -1, 0, 1, -1, 0, 1, 1]>} : tensor<4x2x1x1xi8>
  %tf = onnx.DequantizeLinear %t {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<i8, [0]>, axis = 0 : i64} : (tensor<4x2x1x1xi8>) -> tensor<4x2x1x1xf32>
  %b = onnx.Constant {value = #blob.dense<2x2x1x2xi8, [3, -4, 5, 6, 3, -4, 5, 6]>} : tensor<2x2x1x2xi8>
  %bf = onnx.DequantizeLinear %b {scale = #blob.dense<2xf32, [0.25, 0.125]>, zero_point = #blob.dense<2xi8, [0, 0]>, axis = 0 : i64} : (tensor<2x2x1x2xi8>) -> tensor<2x2x1x2xf32>
  %bias = onnx.Constant {value = #blob.dense<2xf32, [1.0, -2.0]>} : tensor<2xf32>
  // CHECK-NEXT: [[X:%[0-9]+]] = esc.quantize
  // CHECK-NEXT: [[C:%[0-9]+]] = esc.coeff_combine [[X]] {coefficients = #blob.dense<2x2x2xi8, [1, -1, 0, 1, -1, 0, 1, 1]>, ic_shift = 0 : i64, ic_bits = 16 : i64} : tensor<1x4x4x2x!esc.q<u8, 0.5>> -> tensor<1x4x4x2x2xi32> loc("conv/coefficients")
  // CHECK-NEXT: [[B:%[0-9]+]] = esc.basis_conv2d [[C]] {basis = #blob.dense<2x1x2xi8, [3, -4, 5, 6]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 1>} : tensor<1x4x4x2x2xi32> -> tensor<1x4x4x2xi32> loc("conv/basis")
  // CHECK-NEXT: [[R:%[0-9]+]] = esc.requantize [[B]] {bias = #blob.dense<2xi32, [8, -32]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [33, 34]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<u8, 1.0>> loc("conv/basis")
  %2 = onnx.Conv %1, %tf {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<4x2x1x1xf32>) -> tensor<1x4x4x4xf32> loc("conv/coefficients")
  %3 = onnx.Conv %2, %bf, %bias {kernel_shape = array<i64: 1, 2>, pads = array<i64: 0, 0, 0, 1>, group = 2 : i64} : (tensor<1x4x4x4xf32>, tensor<2x2x1x2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32> loc("conv/basis")
  %4 = onnx.QuantizeLinear %3 {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<ui8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8>
  %5 = onnx.DequantizeLinear %4 {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<ui8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>

  %d = onnx.Constant {value = #blob.dense<2x2x1x1xi8, [3, -4, 3, -4]>} : tensor<2x2x1x1xi8>
  %df = onnx.DequantizeLinear %d {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [0]>, axis = 0 : i64} : (tensor<2x2x1x1xi8>) -> tensor<2x2x1x1xf32>
  // CHECK-NEXT: [[F:%[0-9]+]] = esc.conv2d [[R]]
  // CHECK-NEXT: [[G:%[0-9]+]] = esc.requantize [[F]]
  // CHECK-NEXT: [[H:%[0-9]+]] = esc.conv2d [[G]]
  // CHECK-NEXT: [[I:%[0-9]+]] = esc.requantize [[H]]
  // CHECK-NEXT: esc.dequantize [[I]]
  %6 = onnx.Conv %5, %tf {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<4x2x1x1xf32>) -> tensor<1x4x4x4xf32>
  %q = onnx.QuantizeLinear %6 {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<i8, [0]>, axis = 1 : i64} : (tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xi8>
  %r = onnx.DequantizeLinear %q {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<i8, [0]>, axis = 1 : i64} : (tensor<1x4x4x4xi8>) -> tensor<1x4x4x4xf32>
  %7 = onnx.Conv %r, %df {kernel_shape = array<i64: 1, 1>, group = 2 : i64} : (tensor<1x4x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %8 = onnx.QuantizeLinear %7 {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<i8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xi8>
  %9 = onnx.DequantizeLinear %8 {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<i8, [0]>, axis = 1 : i64} : (tensor<1x2x4x4xi8>) -> tensor<1x2x4x4xf32>
  func.return %9 : tensor<1x2x4x4xf32>
}
