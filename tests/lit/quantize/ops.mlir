// RUN: esc-opt %s -p "quantize{samples=4}" 2>/dev/null | filecheck %s
// Legal onnx becomes esc: clamps are absorbed, scales are shared around the concatenation, tables do the rest. (Without
// calibration data the input is synthetic, and a warning says so.)

// CHECK: func.func @main(%x: tensor<1x2x4x4xf32> loc(unknown)) -> (tensor<1x3xf32>, tensor<1x6x2x2xf32>) attributes {input_names = ["x"], output_names = ["y", "z"], sample = #blob.dense<32xui8, {{.*}}>} {
func.func @main(%x: tensor<1x2x4x4xf32>) -> (tensor<1x3xf32>, tensor<1x6x2x2xf32>) attributes {input_names = ["x"], output_names = ["y", "z"]} {
  %w = onnx.Constant {value = #blob.dense<3x2x1x1xf32, [1.0, -2.0, 0.5, 0.25, -0.125, 3.0]>} : tensor<3x2x1x1xf32>
  %b = onnx.Constant {value = #blob.dense<3xf32, [0.5, -0.5, 0.0]>} : tensor<3xf32>
  // CHECK-NEXT: [[X:%[0-9]+]] = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<i8, [[SX:[0-9.e-]+]]>>
  // CHECK-NEXT: [[A0:%[0-9]+]] = esc.conv2d [[X]] {weight = #blob.dense<3x1x1x2xi8, [64, -128, 126, 63, -5, 120]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}
  // CHECK-NEXT: [[A:%[0-9]+]] = esc.requantize [[A0]] {{{.*}}, lo = 0 : i64, hi = {{[0-9]+}} : i64} : tensor<1x4x4x3xi32> -> tensor<1x4x4x3x!esc.q<u8, {{[0-9.e-]+}}>> loc(fused["conv", "clip"])
  %0 = onnx.Conv %x, %w, %b {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<3x2x1x1xf32>, tensor<3xf32>) -> tensor<1x3x4x4xf32> loc("conv")
  %1 = onnx.Clip %0 {min = 0.0 : f32, max = 1.5 : f32} : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> loc("clip")
  // CHECK-NEXT: [[T:%[0-9]+]] = esc.lookup [[A]] {table = #blob.dense<256xui8, {{.*}}>} : tensor<1x4x4x3x!esc.q<u8, {{.*}}>> -> tensor<1x4x4x3x!esc.q<u8, {{.*}}>> loc("tanh")
  %2 = onnx.Tanh %1 : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> loc("tanh")
  // CHECK-NEXT: [[S:%[0-9]+]] = esc.add [[A]], [[T]] {mult_a = {{[0-9]+}} : i64, mult_b = {{[0-9]+}} : i64, shift = {{[0-9]+}} : i64, lo = 0 : i64, hi = 255 : i64} : {{.*}} -> tensor<1x4x4x3x!esc.q<u8, [[SC:[0-9.e-]+]]>> loc(fused["add", "relu"])
  %3 = onnx.Add %1, %2 : (tensor<1x3x4x4xf32>, tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> loc("add")
  %4 = onnx.Relu %3 : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> loc("relu")
  // CHECK-NEXT: [[M:%[0-9]+]] = esc.max_pool [[S]] {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>} : {{.*}} -> tensor<1x2x2x3x!esc.q<u8, [[SC]]>>
  %5 = onnx.MaxPool %4 {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>} : (tensor<1x3x4x4xf32>) -> tensor<1x3x2x2xf32>
  // CHECK-NEXT: [[L:%[0-9]+]] = esc.slice [[S]] {offsets = array<i64: 0, 1, 0>, strides = array<i64: 2, 2>} : {{.*}} -> tensor<1x2x2x3x!esc.q<u8, [[SC]]>>
  %6 = onnx.Slice %4 {starts = array<i64: 0, 1>, ends = array<i64: 4, 4>, axes = array<i64: 2, 3>, steps = array<i64: 2, 2>} : (tensor<1x3x4x4xf32>) -> tensor<1x3x2x2xf32>
  // CHECK: esc.concat
  // CHECK-SAME: -> tensor<1x2x2x6x!esc.q<u8,
  %7 = onnx.Concat %5, %6 {axis = 1 : i64} : (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) -> tensor<1x6x2x2xf32>
  // CHECK-NEXT: [[G:%[0-9]+]] = esc.avg_pool [[S]] {kernel = array<i64: 4, 4>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, count_include_pad = false, mult = #blob.dense<1xi32, [{{[0-9]+}}]>, count0 = 16 : i64, shift = {{[0-9]+}} : i64, lo = 0 : i64, hi = 255 : i64}
  %8 = onnx.AveragePool %4 {kernel_shape = array<i64: 4, 4>} : (tensor<1x3x4x4xf32>) -> tensor<1x3x1x1xf32>
  %9 = onnx.Reshape %8 {shape = array<i64: 1, 3>} : (tensor<1x3x1x1xf32>) -> tensor<1x3xf32>
  // CHECK-NEXT: [[D:%[0-9]+]] = esc.dequantize [[G]] : tensor<1x1x1x3x!esc.q<u8, {{.*}}>> -> tensor<1x3xf32>
  // CHECK-NEXT: [[Y:%[0-9]+]] = esc.softmax [[D]] {axis = 1 : i64} : tensor<1x3xf32> -> tensor<1x3xf32> loc("softmax")
  %y = onnx.Softmax %9 {axis = 1 : i64} : (tensor<1x3xf32>) -> tensor<1x3xf32> loc("softmax")
  // CHECK-NEXT: [[Z:%[0-9]+]] = esc.dequantize {{.*}} -> tensor<1x6x2x2xf32>
  // CHECK-NEXT: func.return [[Y]], [[Z]] : tensor<1x3xf32>, tensor<1x6x2x2xf32>
  func.return %y, %7 : tensor<1x3xf32>, tensor<1x6x2x2xf32>
}
