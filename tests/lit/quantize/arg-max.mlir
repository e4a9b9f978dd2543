// RUN: esc-opt %s -p "onnx-legalize,quantize{samples=4}" 2>/dev/null | filecheck %s
// RUN: esc-opt %s -p "onnx-legalize,quantize{samples=4},fuse-epilogues,esc-legalize,tile-basis-first" 2>/dev/null | filecheck %s --check-prefix BFS
// ArgMax stands behind dequantisation, and the output port declares it.

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x4x4xi64> attributes {input_names = ["x"], output_names = ["y"]} {
  %w = onnx.Constant {value = #blob.dense<3x2x1x1xf32, [1.0, -2.0, 0.5, 0.25, -0.125, 3.0]>} : tensor<3x2x1x1xf32>
  %0 = onnx.Conv %x, %w {kernel_shape = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<3x2x1x1xf32>) -> tensor<1x3x4x4xf32> loc("conv")
  // CHECK: [[D:%[0-9]+]] = esc.dequantize %{{.*}} : tensor<1x4x4x3x!esc.q<i8, {{.*}}>> -> tensor<1x3x4x4xf32>
  // CHECK-NEXT: [[Y:%[0-9]+]] = esc.arg_max [[D]] {axis = 1 : i64, last} : tensor<1x3x4x4xf32> -> tensor<1x4x4xi64> loc("choice")
  // CHECK-NEXT: func.return [[Y]] : tensor<1x4x4xi64>
  // BFS: bfs.output {{.*}} {shape = array<i64: 1, 4, 4>, scores = array<i64: 1, 3, 4, 4>, arg_max_axis = 1 : i64, arg_max_last}
  %y = onnx.ArgMax %0 {axis = 1 : i64, select_last_index} : (tensor<1x3x4x4xf32>) -> tensor<1x4x4xi64> loc("choice")
  func.return %y : tensor<1x4x4xi64>
}
