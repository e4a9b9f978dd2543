// RUN: not esc-opt %s -p tile-basis-first 2>&1 | filecheck %s

func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %0 = esc.quantize %x : tensor<1x2x4x4xf32> -> tensor<1x4x4x2x!esc.q<u8, 1.0>>
  %1 = esc.conv2d %0 {weight = #blob.dense<2x1x1x2xi8, [1, 2, 3, 4]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x4x4x2xi32> loc("/conv")
  %2 = esc.dequantize %0 : tensor<1x4x4x2x!esc.q<u8, 1.0>> -> tensor<1x2x4x4xf32>
  func.return %2 : tensor<1x2x4x4xf32>
}

// CHECK: error: {{.*}}node '/conv' (conv2d): its result must be read by one esc.requantize alone
