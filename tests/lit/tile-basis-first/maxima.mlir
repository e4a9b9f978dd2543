// A maximum over windows that lie side by side is taken where the convolution before it is requantised.
// RUN: esc-opt %s -p tile-basis-first | filecheck %s
// RUN: esc-opt %s -p tile-basis-first,plan-memory,double-buffer,pack-coefficients,lower-to-eisa | filecheck %s --check-prefix EISA

func.func @main(%0: tensor<1x2x7x6xf32>) -> tensor<1x2x3x2xf32> attributes {input_names = ["x"], output_names = ["y0"]} {
  %1 = esc.quantize %0 : tensor<1x2x7x6xf32> -> tensor<1x7x6x2x!esc.q<i8, 1.0>>
  %2 = esc.conv2d %1 {weight = #blob.dense<2x1x1x2xi8, [79, -106, -82, -67]>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : tensor<1x7x6x2x!esc.q<i8, 1.0>> -> tensor<1x7x6x2xi32> loc("/conv")
  %3 = esc.requantize %2 {bias = #blob.dense<2xi32, [-128, 120]>, mult = #blob.dense<2xi32, [14720422, 10205193]>, shift = #blob.dense<2xui8, [26, 26]>, lo = 0 : i64, hi = 255 : i64} : tensor<1x7x6x2xi32> -> tensor<1x7x6x2x!esc.q<u8, 1.0>> loc("/relu")
  %4 = esc.max_pool %3 {kernel = array<i64: 2, 3>, strides = array<i64: 2, 3>, pads = array<i64: 0, 0, 0, 0>} : tensor<1x7x6x2x!esc.q<u8, 1.0>> -> tensor<1x3x2x2x!esc.q<u8, 1.0>> loc("/pool")
  %5 = esc.dequantize %4 : tensor<1x3x2x2x!esc.q<u8, 1.0>> -> tensor<1x2x3x2xf32>
  func.return %5 : tensor<1x2x3x2xf32>
}

// The seventh row is in no window: it is neither loaded nor computed.
// CHECK:       bfs.tensor @t1 : 3x2x2 !esc.q<u8, 1.0> bitmap segment 2
// CHECK:       bfs.layer "/conv" "dense" -> @t1 attributes {nodes = ["/conv", "/relu", "/pool"], macs = 168 : i64, weights = 4 : i64} {
// CHECK:         %out = bfs.buffer act 12
// CHECK-NEXT:    %psum = bfs.buffer psum 288
// CHECK:         bfs.load_tile %act, @t0[%c0 : %c6, %c0 : %c6, %c0 : %c2] {{.*}}
// CHECK-NEXT:    bfs.open_tile %out[%c0 : %c6, %c0 : %c6, %c0 : %c2] {pool = array<i64: 2, 3>}
// CHECK-NEXT:    bfs.conv %psum, %act, %weights[%c0 : %c6, %c0 : %c6, %c0 : %c2, %c0 : %c2] {{.*}}
// CHECK-NEXT:    bfs.maxima %out, %psum, %parameters {pool = array<i64: 2, 3>, lo = 0 : i64, hi = 255 : i64, q_signed = false}
// CHECK-NEXT:    bfs.store_tile @t1, %out
// CHECK-NOT:   bfs.layer

// EISA:      eisa.conv.dense {{.*}} oh=6, ow=6, kt=2, kn=2, {{.*}}
// EISA-NEXT: eisa.post.maxima oh=6, ow=6, kt=2, kn=2, r=2, s=3, out={{.*}}, out_w=2, out_c=2, hi=255
// EISA-NEXT: eisa.store.act {{.*}} h=3, w=2, cn=2, {{.*}}
