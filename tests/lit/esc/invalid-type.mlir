// RUN: not esc-opt %s 2>&1 | filecheck %s

func.func @main(%x: tensor<1x1x1x4x!esc.q<u4, 1.0>>) {
  func.return
}
// CHECK: esc.q: expected u8 or i8, found u4
