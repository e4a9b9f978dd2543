// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "mul" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %act = bfs.buffer act 128
    %gate = bfs.buffer act 128
    %par = bfs.buffer par 128
    bfs.mul %out, %act, %gate, %par {spread = array<i64: 1, 1>}
  }
}
// CHECK: spread must be 3 integers of at least 0, found [1, 1]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "mul" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %act = bfs.buffer act 128
    %gate = bfs.buffer act 128
    %par = bfs.buffer par 128
    "bfs.mul"(%par, %act, %gate, %par) <{spread = array<i64: 1, 1, 0>}> : (!bfs.buffer<par>, !bfs.buffer<act>, !bfs.buffer<act>, !bfs.buffer<par>) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<act> but got !bfs.buffer<par>
