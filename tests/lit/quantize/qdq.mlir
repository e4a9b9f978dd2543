// RUN: esc-opt %s -p quantize 2>/dev/null | filecheck %s
// RUN: esc-opt %s -p quantize 2>&1 >/dev/null | filecheck %s --check-prefix=NOTE
// Scales come from the model. Zero points at the end of the range are exact, others are re-expressed over the same range.

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  // CHECK: esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 0.5>>
  %0 = onnx.QuantizeLinear %x {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [-128]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xi8>
  %1 = onnx.DequantizeLinear %0 {scale = #blob.dense<f32, [0.5]>, zero_point = #blob.dense<i8, [-128]>, axis = 1 : i64} : (tensor<1x2x4x4xi8>) -> tensor<1x2x4x4xf32>
  %c = onnx.Constant {value = #blob.dense<2x2x1x1xi8, [1, -2, 3, 4]>} : tensor<2x2x1x1xi8>
  %w = onnx.DequantizeLinear %c {scale = #blob.dense<2xf32, [0.25, 0.125]>, zero_point = #blob.dense<2xi8, [0, 0]>, axis = 0 : i64} : (tensor<2x2x1x1xi8>) -> tensor<2x2x1x1xf32>
  // CHECK-NEXT: esc.conv2d %{{.*}} {weight = #blob.dense<2x1x1x2xi8, [1, -2, 3, 4]>,
  // CHECK-NEXT: esc.requantize %{{.*}} {bias = #blob.dense<2xi32, [0, 0]>, mult = #blob.dense<2xi32, [1073741824, 1073741824]>, shift = #blob.dense<2xui8, [33, 34]>, lo = -128 : i64, hi = 127 : i64} : tensor<1x4x4x2xi32> -> tensor<1x4x4x2x!esc.q<i8, 1.0>>
  %2 = onnx.Conv %1, %w {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %3 = onnx.QuantizeLinear %2 {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<ui8, [128]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8>
  %4 = onnx.DequantizeLinear %3 {scale = #blob.dense<f32, [1.0]>, zero_point = #blob.dense<ui8, [128]>, axis = 1 : i64} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>
  // CHECK-NEXT: esc.add {{.*}}, lo = -128 : i64, hi = 77 : i64} : {{.*}} -> tensor<1x4x4x2x!esc.q<i8, 2.484375>>
  %5 = onnx.Add %4, %1 : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %6 = onnx.QuantizeLinear %5 {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<ui8, [159]>, axis = 1 : i64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xui8> loc("q6")
  %7 = onnx.DequantizeLinear %6 {scale = #blob.dense<f32, [2.0]>, zero_point = #blob.dense<ui8, [159]>, axis = 1 : i64} : (tensor<1x2x4x4xui8>) -> tensor<1x2x4x4xf32>
  // CHECK-NEXT: esc.dequantize
  func.return %7 : tensor<1x2x4x4xf32>
}

// NOTE-NOT: synthetic
// NOTE: 1 tensor is re-expressed with zero point 0 over the same range: 'q6'
