// RUN: esc-opt %s --verify-diagnostics --split-input-file | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.output "y" @nowhere {shape = array<i64: 1>}
}
// CHECK: @nowhere is not a bfs.tensor

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %act = bfs.buffer act 128
    bfs.load_tile %act, @t[%c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 0, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, channels = array<i64: 0, 3, 0, 1>}
  }
}
// CHECK: kernel must be 2 integers of at least 1, found [0, 3]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %act = bfs.buffer act 128
    bfs.load_tile %act, @t[%c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, channels = array<i64: 0, 3>}
  }
}
// CHECK: channels must be [first, count, offset, per], found [0, 3]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %par = bfs.buffer par 128
    bfs.load_parameters %par, @c[%c0 : %c0] {block = 0 : i64}
  }
}
// CHECK: block must be positive, found 0

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    bfs.conv %psum, %act, %coef[%c0 : %c0, %c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, kpg = 16 : i64, cpg = 3 : i64, row_groups = 2 : i64}
  }
}
// CHECK: kernel must be 2 integers of at least 1, found [3]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    bfs.conv_dw %psum, %act, %coef[%c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 3, 3>, strides = array<i64: 0, 1>, pads = array<i64: 1, 1>, kpg = 1 : i64}
  }
}
// CHECK: strides must be 2 integers of at least 1, found [0, 1]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    bfs.conv_esc %psum, %act, %coef, %par[%c0 : %c0, %c0 : %c0, %c0 : %c0] {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: -1, 1>, v = 6 : i64, ic_shift = 1 : i64, row_groups = 2 : i64}
  }
}
// CHECK: pads must be 2 integers of at least 0, found [-1, 1]

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    "bfs.load_weights"(%act, %c0, %c0, %c0, %c0) <{constant = @c}> : (!bfs.buffer<act>, index, index, index, index) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<coef> but got !bfs.buffer<act>
// CHECK: "bfs.load_weights"

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    "bfs.load_coefficients"(%act, %c0, %c0) <{constant = @c}> : (!bfs.buffer<act>, index, index) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<coef> but got !bfs.buffer<act>
// CHECK: "bfs.load_coefficients"

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    "bfs.load_bytes"(%act) <{constant = @c}> : (!bfs.buffer<act>) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<par> but got !bfs.buffer<act>
// CHECK: "bfs.load_bytes"

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    %c0 = arith.constant 0 : index
    "bfs.open_tile"(%par, %c0, %c0, %c0, %c0, %c0, %c0) : (!bfs.buffer<par>, index, index, index, index, index, index) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<act> but got !bfs.buffer<par>
// CHECK: "bfs.open_tile"

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "dense" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %psum = bfs.buffer psum 128
    %act = bfs.buffer act 128
    %coef = bfs.buffer coef 128
    %par = bfs.buffer par 128
    "bfs.store_tile"(%par) <{tensor = @t}> : (!bfs.buffer<par>) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<act> but got !bfs.buffer<par>
// CHECK: "bfs.store_tile"

// -----

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "l" "add" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %act = bfs.buffer act 128
    %par = bfs.buffer par 128
    "bfs.add"(%par, %act, %act, %par) : (!bfs.buffer<par>, !bfs.buffer<act>, !bfs.buffer<act>, !bfs.buffer<par>) -> ()
  }
}
// CHECK: Expected attribute !bfs.buffer<act> but got !bfs.buffer<par>
// CHECK: "bfs.add"
