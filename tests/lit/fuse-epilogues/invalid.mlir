// RUN: not esc-opt %s -p fuse-epilogues 2>&1 | filecheck %s
// A module without @main is nothing to work on.

func.func @other() {
  func.return
}
// CHECK: error: {{.*}}the module has no function @main
