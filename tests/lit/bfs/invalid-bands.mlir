// What layers side by side, and the tensors between them, must obey.
// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.bands attributes {delays = array<i64: 0>} {
    bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
  }
}
// CHECK: bands hold layers only, and two at least

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw resident
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.bands attributes {delays = array<i64: 0>} {
    bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
    bfs.layer "m" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
  }
}
// CHECK: delays must be 2 integers of at least 0, found [0]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.bands attributes {delays = array<i64: 0, 1>} {
    bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
    bfs.layer "m" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
  }
}
// CHECK: layer 'l': its output @a is not resident; only that of the last layer of bands may be so

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @x : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw resident rows 4
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @x {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %o = bfs.resident @a
  }
  bfs.layer "m" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %i = bfs.resident @a
  }
}
// CHECK: tensor @a: its ring of rows is for the layers of the bands that compute it

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw rows 4
}
// CHECK: rows 4 requires a resident tensor of more rows, and at least 1

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw resident rows 8
}
// CHECK: rows 8 requires a resident tensor of more rows, and at least 1

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw resident
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.bands attributes {delays = array<i64: 0, 1>} {
    bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %o = bfs.resident @a
      %w = bfs.buffer coef 128 at [0]
    }
    bfs.layer "m" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %i = bfs.resident @a
      %w = bfs.buffer coef 128 at [64]
    }
  }
}
// CHECK: layer 'm': a buffer of coef at 64 overlaps [0, 128) of layer 'l'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw resident
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.bands attributes {delays = array<i64: 0, 1>} {
    bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %c0 = arith.constant 0 : index
      %c8 = arith.constant 8 : index
      bfs.for (%y, %yn) = %c0 size %c8 step 4 {
      }
      bfs.for (%z, %zn) = %c0 size %c8 step 4 {
      }
    }
    bfs.layer "m" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
      %b = bfs.buffer act 128
    }
  }
}
// CHECK: layer 'l' has 2 outermost loops; requires one
