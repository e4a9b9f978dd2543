// RUN: not esc-opt %s -p "quantize{method=best}" 2>&1 | filecheck %s --check-prefix=METHOD
// RUN: not esc-opt %s -p "quantize{calibration=\"/no/such.npz\"}" 2>&1 | filecheck %s --check-prefix=FILE
// RUN: esc-opt %s -p "quantize{method=percentile percentile=90.0 bias-correction=false samples=2 seed=7}" 2>/dev/null | filecheck %s

// METHOD: error: {{.*}}method 'best' is unknown; requires mse, minmax or percentile
// FILE: error: {{.*}}/no/such.npz: No such file or directory

func.func @main(%x: tensor<1x4xf32>) -> tensor<1x4xf32> {
  // CHECK: %0 = esc.quantize %x : tensor<1x4xf32> -> tensor<1x1x1x4x!esc.q<i8, {{.*}}>>
  // CHECK-NEXT: %1 = esc.dequantize %0 : tensor<1x1x1x4x!esc.q<i8, {{.*}}>> -> tensor<1x4xf32>
  func.return %x : tensor<1x4xf32>
}
