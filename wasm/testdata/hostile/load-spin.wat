;; Loads from all over its memory, each address from the last value, without end.
;; fails: not done
;; endless
(module
  (memory (export "memory") 96 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (local $at i32)
    (loop
      (local.set $at (i32.and (i32.add (i32.mul (local.get $at) (i32.const 1664525)) (i32.add (i32.load (local.get $at)) (i32.const 1013904223))) (i32.const 0x3ffff8)))
      (br 0))
    unreachable))
