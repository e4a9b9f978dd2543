// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "no-such-machine"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
}
// CHECK: unknown target 'no-such-machine'

// -----

bfs.program attributes {target = "/dev/zero"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
}
// CHECK: unknown target '/dev/zero'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> sparse
}
// CHECK: format must be raw or bitmap, found 'sparse'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> bitmap segment 9
}
// CHECK: segment must be in 1..8, found 9

// -----

bfs.program attributes {target = "esc1"} {
  bfs.constant @c {}
}
// CHECK: constant needs either a value or its packed bytes

// -----

bfs.program attributes {target = "esc1"} {
  bfs.constant @c {packed = #blob.dense<3xui8, [1, 2, 3]>, pieces = array<i64: 0, 0, 2, 3, 0>}
}
// CHECK: a piece lies outside the 3 packed bytes

// -----

bfs.program attributes {target = "esc1"} {
  bfs.input "x" @nowhere {shape = array<i64: 1>}
}
// CHECK: is not a bfs.tensor

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "Magic kind" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: kind must be lower-case letters, digits and '-', found 'Magic kind'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 131072 at [64]
  }
}
// CHECK: layer 'l': buffer of 131072 bytes at [64] does not fit the 131072 bytes of act

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128 at [64, 100]
  }
}
// CHECK: instances of 128 bytes at [64, 100] overlap

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer attic 128
  }
}
// CHECK: no scratchpad 'attic'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    bfs.for (%i, %n) = %c0 size %c0 step 0 {
    }
  }
}
// CHECK: step must be positive, found 0

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %psum = bfs.buffer psum 128
    %par = bfs.buffer par 128
    bfs.requant %out, %psum, %par addition %par {lo = 0 : i64, hi = 255 : i64, q_signed = false}
  }
}
// CHECK: a residual needs the parameters of the addition, and they a residual

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "pool" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %act = bfs.buffer act 128
    bfs.pool %out, %act {kind = "average", kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, count_include_pad = false}
  }
}
// CHECK: an average, and only it, has parameters, count0, shift, lo and hi

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %act = bfs.buffer act 128
    bfs.map %out, %act of @t {strides = array<i64: 0, 1>, offsets = array<i64: 0, 0, 0>, channels = array<i64: 0, 3>}
  }
}
// CHECK: strides must be 2 integers of at least 1, found [0, 1]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %a = bfs.buffer act 128 at [0]
    %b = bfs.buffer act 128 at [256, 96]
  }
}
// CHECK: buffers of act overlap: [0, 128) and one at 96

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    bfs.for (%i, %n) = %c0 size %c0 step 1 {
      %b = bfs.buffer act 128
    }
  }
}
// CHECK: 'bfs.buffer' expects parent op 'bfs.layer'

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %psum = bfs.buffer psum 128
    %par = bfs.buffer par 128
    bfs.maxima %out, %psum, %par {pool = array<i64: 2>, lo = 0 : i64, hi = 255 : i64, q_signed = false}
  }
}
// CHECK: pool must be 2 integers of at least 1, found [2]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.buffer act 128
    %c0 = arith.constant 0 : index
    bfs.open_tile %out[%c0 : %c0, %c0 : %c0, %c0 : %c0] {pool = array<i64: 2, 0>}
  }
}
// CHECK: pool must be 2 integers of at least 1, found [2, 0]
