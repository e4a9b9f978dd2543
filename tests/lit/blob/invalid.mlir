// RUN: esc-opt %s --split-input-file --parsing-diagnostics --verify-diagnostics | filecheck %s

// CHECK: blob.dense: element type index is not supported
builtin.module attributes {a = #blob.dense<2xindex, [1, 2]>} {}

// -----

// CHECK: blob.dense: data must be hexadecimal
builtin.module attributes {a = #blob.dense<2xi8, "0x0g">} {}

// -----

// CHECK: blob.dense: 3 bytes given, tensor<2xi8> needs 2
builtin.module attributes {a = #blob.dense<2xi8, [1, 2, 3]>} {}

// -----

// CHECK: blob.dense: shape must be static
builtin.module attributes {a = #blob.dense<?xi8, [1]>} {}

// -----

// CHECK: blob.dense: 1.5 is not an integer in -2147483648..2147483647
builtin.module attributes {a = #blob.dense<1xi32, [1.5]>} {}

// -----

// CHECK: blob.dense: 99999999999 is not an integer in -2147483648..2147483647
builtin.module attributes {a = #blob.dense<8xi32, [1, 99999999999]>} {}

// -----

// CHECK: blob.dense: -1 is not an integer in 0..255
builtin.module attributes {a = #blob.dense<1xui8, [-1]>} {}

// -----

// CHECK: blob.dense: 2 is not an integer in 0..1
builtin.module attributes {a = #blob.dense<1xi1, [2]>} {}

// -----

// CHECK: blob.dense: 100000.0 is not a finite float16
builtin.module attributes {a = #blob.dense<1xf16, [1.0e5]>} {}

// -----

// CHECK: blob.dense: inf is not a finite float64
builtin.module attributes {a = #blob.dense<1xf64, [1.0e999]>} {}

// -----

// CHECK: blob.dense: 0 bytes given, tensor<4294967296x4294967296xi8> needs 18446744073709551616
builtin.module attributes {a = #blob.dense<4294967296x4294967296xi8, "">} {}
