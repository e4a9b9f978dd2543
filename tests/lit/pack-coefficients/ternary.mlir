// Each output channel is a stream of its own, in its smallest format: a number, then flat bitmap and signs here, or gaps.
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

// CHECK: bfs.constant @t {packed = #blob.dense<{{.*}}>, pieces = array<i64: 0, 0, 0, 3, 0, 1, 0, 3, {{[0-9]+}}, 0>, address = 0 : i64}
