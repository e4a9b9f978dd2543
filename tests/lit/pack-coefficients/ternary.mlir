// Each output channel is a stream: count, low bits of gaps, signs, rests of gaps. Here each is a transfer of its own, in
// the code of the layer: 1 low bit of a count.
// RUN: esc-opt %s -p pack-coefficients | filecheck %s

bfs.program attributes {target = "esc1", arena = 1024 : i64} {
  bfs.tensor @in : 8x8x8 !esc.q<u8, 0.5> raw at 0
  bfs.tensor @out : 8x8x2 !esc.q<i8, 0.5> raw at 512
  bfs.constant @t {value = #blob.dense<2x1x8xi8, [1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1]>}
  bfs.layer "l" "escalate" -> @out attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c2 = arith.constant 2 : index
    %coef = bfs.buffer coef 64 at [0]
    bfs.for (%k, %n) = %c0 size %c2 step 1 {
      bfs.load_coefficients %coef, @t[%k : %n]
    }
  }
}

// CHECK: bfs.constant @t {packed = #blob.dense<3xui8, [214, 2, 143]>, pieces = array<i64: 0, 0, 0, 2, 1, 1, 0, 2, 1, 1>, address = 0 : i64}
