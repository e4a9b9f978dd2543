// What a program must obey as a whole.
// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.output "y" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: output 'y': no layer computes tensor @a

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @nowhere attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: layer 'l': @nowhere is not a bfs.tensor

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @nowhere[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
}
// CHECK: layer 'l': @nowhere is not a bfs.tensor

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @a attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: layer 'l': computes tensor @a, which input 'x' fills already

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "k" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: layer 'l': computes tensor @b, which layer 'k' fills already

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @c : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "k" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @c[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
  bfs.layer "l" "map" -> @c attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @b[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
}
// CHECK: layer 'k': reads tensor @c, which no layer before it computes

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @b[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
}
// CHECK: layer 'l': reads tensor @b, which no layer before it computes

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @c : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %o = bfs.buffer act 1024
    bfs.store_tile @c, %o
  }
}
// CHECK: layer 'l': stores into @c, its output is @b

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw at 0
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw at 448
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @a[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
}
// CHECK: layer 'l': tensor @b at [448, 960) of the arena overlaps @a at [0, 512), which is still needed

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw at 0
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw at 512
  bfs.tensor @c : 8x8x8 !esc.q<u8, 0.5> raw at 64
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "k" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @a[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
  bfs.layer "l" "map" -> @c attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %b = bfs.buffer act 1024
    bfs.load_tile %b, @b[%c0 : %c8, %c0 : %c8, %c0 : %c8] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 8, 0, 1>}
  }
  bfs.output "z" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: layer 'l': tensor @c at [64, 576) of the arena overlaps @a at [0, 512), which is still needed

// -----

bfs.program attributes {target = "esc1", arena = 960 : i64} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw at 512
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: tensor @a: bytes [512, 1024) lie outside the arena of 960 bytes

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %big = arith.constant 1000000000000 : index
    bfs.for (%i, %n) = %c0 size %big step 1 {
      bfs.for (%j, %m) = %c0 size %n step 1 {
      }
    }
  }
}
// CHECK: layer 'l': up to its end, the program takes more than 262144 tile operations and steps

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %w = bfs.buffer coef 128
    bfs.load_weights %w, @nothing[%c0 : %c0, %c0 : %c0]
  }
}
// CHECK: layer 'l': @nothing is not a bfs.constant

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.constant @w {value = #blob.dense<1x1x1x1xi32, [300]>}
  bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %w = bfs.buffer coef 128
    bfs.load_weights %w, @w[%c0 : %c0, %c0 : %c0]
  }
}
// CHECK: layer 'l': bfs.load_weights needs int8 [K][R][S][C/groups], constant @w is tensor<1x1x1x1xi32>

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.tensor @t1 : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.input "x" @t0 {shape = array<i64: 1, 3, 8, 8>}
  bfs.layer "l" "map" -> @t1 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %act = bfs.resident @t0
  }
}
// CHECK: layer 'l': @t0 is not a resident bfs.tensor

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.tensor @t1 : 8x8x3 !esc.q<u8, 0.5> raw resident
  bfs.input "x" @t0 {shape = array<i64: 1, 3, 8, 8>}
  bfs.layer "l" "map" -> @t1 attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %out = bfs.resident @t1
    %again = bfs.resident @t1
  }
}
// CHECK: layer 'l': names a resident tensor twice

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t0 : 8x8x3 !esc.q<u8, 0.5> bitmap segment 8 resident
}
// CHECK: a resident tensor is raw

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.5> raw in @nowhere from 2
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: tensor @b: its whole, @nowhere, is not a bfs.tensor of its own

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.5> raw in @a from 2
  bfs.tensor @c : 8x8x2 !esc.q<u8, 0.5> raw in @b from 0
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: tensor @c: its whole, @b, is not a bfs.tensor of its own

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.5> raw in @a from 5
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: tensor @b: channels 5..8 of 8x8 positions do not lie in @a

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.25> raw in @a from 0
  bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}
}
// CHECK: tensor @b: is stored in another way than its whole, @a

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.5> raw in @a from 0 at 0
}
// CHECK: a part of @a has no offset of its own

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x4 !esc.q<u8, 0.5> raw in @a from 0
  bfs.input "x" @b {shape = array<i64: 1, 4, 8, 8>}
}
// CHECK: port 'x': @b is a part; the host reads whole tensors

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @i : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x5 !esc.q<u8, 0.5> raw in @a from 0
  bfs.tensor @c : 8x8x4 !esc.q<u8, 0.5> raw in @a from 4
  bfs.input "x" @i {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "k" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
  bfs.layer "l" "map" -> @c attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: layer 'l': computes tensor @c, which layer 'k' fills already

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @i : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw
  bfs.tensor @b : 8x8x3 !esc.q<u8, 0.5> raw in @a from 0
  bfs.tensor @c : 8x8x4 !esc.q<u8, 0.5> raw in @a from 4
  bfs.input "x" @i {shape = array<i64: 1, 8, 8, 8>}
  bfs.output "y" @a {shape = array<i64: 1, 8, 8, 8>}
  bfs.layer "k" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
  bfs.layer "l" "map" -> @c attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %b = bfs.buffer act 128
  }
}
// CHECK: output 'y': no layer computes tensor @a
