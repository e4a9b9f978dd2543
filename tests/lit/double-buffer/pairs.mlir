// What a loop fills gets a second instance; the table is loaded once and keeps one.
// RUN: esc-opt %s -p double-buffer | filecheck %s

bfs.program attributes {target = "esc1", arena = 1024 : i64} {
  bfs.tensor @in : 8x8x4 !esc.q<u8, 0.5> raw at 0
  bfs.tensor @out : 8x8x4 !esc.q<i8, 0.5> raw at 256
  bfs.input "x" @in {shape = array<i64: 1, 4, 8, 8>}
  bfs.output "y" @out {shape = array<i64: 1, 4, 8, 8>}
  bfs.constant @table {value = #blob.dense<4xi8, [1, 2, 3, 4]>}
  bfs.layer "/sigmoid" "map" -> @out attributes {nodes = ["/sigmoid"], macs = 0 : i64, weights = 0 : i64} {
    %c0 = arith.constant 0 : index
    %c8 = arith.constant 8 : index
    %c4 = arith.constant 4 : index
    %act = bfs.buffer act 120 at [0]
    %out = bfs.buffer act 96 at [65536]
    %table = bfs.buffer par 256 at [0]
    bfs.load_bytes %table, @table
    bfs.for (%y, %yn) = %c0 size %c8 step 3 {
      bfs.load_tile %act, @in[%y : %yn, %c0 : %c8, %c0 : %c4] {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0>, channels = array<i64: 0, 4, 0, 1>}
      bfs.open_tile %out[%y : %yn, %c0 : %c8, %c0 : %c4]
      bfs.map %out, %act of @in table %table {strides = array<i64: 1, 1>, offsets = array<i64: 0, 0, 0>, channels = array<i64: 0, 4>}
      bfs.store_tile @out, %out
    }
  }
}

// CHECK:      %act = bfs.buffer act 120 at [0, 128]
// CHECK-NEXT: %out = bfs.buffer act 96 at [256, 352]
// CHECK-NEXT: %table = bfs.buffer par 256 at [0]
