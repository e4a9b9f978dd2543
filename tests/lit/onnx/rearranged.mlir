// RUN: esc-opt %s | esc-opt | filecheck %s
// Channels in another order.

func.func @main(%x : tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32> {
  // CHECK: onnx.ChannelShuffle %x {groups = 3 : i64} : (tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32>
  %0 = onnx.ChannelShuffle %x {groups = 3 : i64} : (tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32>
  func.return %0 : tensor<1x6x3x3xf32>
}
