// RUN: not esc-opt %s -p drop-dead-channels 2>&1 | filecheck %s
// A module without @main is nothing to work on.

func.func @other() {
  func.return
}
// CHECK: error: {{.*}}the module has no function @main
