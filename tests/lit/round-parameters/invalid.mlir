// RUN: not esc-opt %s -p 'round-parameters{multiplier-bits=32 bias-bits=40}' 2>&1 | filecheck %s

func.func @main() {
  func.return
}
// CHECK: error: {{.*}}round-parameters: multiplier-bits must be in [1, 31], found 32
// CHECK: error: {{.*}}round-parameters: bias-bits must be in [0, 31], found 40
