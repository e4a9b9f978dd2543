// RUN: esc-opt %s | esc-opt | filecheck %s
// RUN: xdsl-opt %s | filecheck %s

// Up to 16 values print as a list, more as hexadecimal bytes; both parse.
builtin.module attributes {
  // CHECK: list = #blob.dense<2x2xi8, [1, -2, 3, -128]>
  list = #blob.dense<2x2xi8, [1, -2, 3, -128]>,
  // CHECK-SAME: bytes = #blob.dense<2xi16, [513, -1]>
  bytes = #blob.dense<2xi16, "0x0102ffff">,
  // CHECK-SAME: long = #blob.dense<17xui8, "0x000102030405060708090a0b0c0d0e0f10">
  long = #blob.dense<17xui8, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]>,
  // CHECK-SAME: floats = #blob.dense<3xf32, [0.5, -1.25, 3.0]>
  floats = #blob.dense<3xf32, [0.5, -1.25, 3.0]>,
  // CHECK-SAME: powers = #blob.dense<2xf64, [1.0e+20, -1.0e-20]>
  powers = #blob.dense<2xf64, [100000000000000000000, -1.0e-20]>,
  // CHECK-SAME: nan = #blob.dense<1xf32, "0x0000c07f">
  nan = #blob.dense<1xf32, "0x0000c07f">,
  // CHECK-SAME: empty = #blob.dense<0xi32, []>
  empty = #blob.dense<0xi32, []>,
  // CHECK-SAME: scalar = #blob.dense<i64, [-7]>
  scalar = #blob.dense<i64, [-7]>,
  // CHECK-SAME: booleans = #blob.dense<2xi1, [1, 0]>
  booleans = #blob.dense<2xi1, [1, 0]>
} {}
