// RUN: not esc-opt %s -p plan-memory 2>&1 | filecheck %s

bfs.program attributes {target = "esc1"} {
  bfs.tensor @t : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.tensor @u : 8x8x3 !esc.q<u8, 0.5> raw
  bfs.layer "a" "map" -> @t attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %x = bfs.buffer act 80000
    %y = bfs.buffer act 80000
  }
  bfs.layer "b" "map" -> @u attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {
    %x = bfs.buffer par 5000
  }
}

// CHECK:      error: {{.*}}layer 'a': act buffers need 160000 bytes; 131072 available
// CHECK-NEXT: error: {{.*}}layer 'b': par buffers need 5008 bytes; 4096 available
// CHECK-NEXT: note: tile for this target first
