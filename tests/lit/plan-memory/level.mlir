// RUN: not esc-opt %s -p plan-memory 2>&1 | filecheck %s

"builtin.module"() ({
^bb0:
  %0 = "arith.constant"() <{value = 0 : index}> : () -> index
}) : () -> ()

// CHECK:      error: {{.*}}expected a module with one bfs.program, found arith.constant
// CHECK-NEXT: note: run tile-basis-first first
