// RUN: esc-opt %s --verify-diagnostics | filecheck %s

func.func @main(%x : tensor<1x6x3x3xf32>) {
  // CHECK: op 'onnx.ChannelShuffle': groups=4 do not divide 6 channels
  %0 = onnx.ChannelShuffle %x {groups = 4 : i64} : (tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32>
  func.return
}
