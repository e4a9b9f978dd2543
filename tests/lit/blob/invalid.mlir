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
