;; Divides without end.
;; fails: not done
;; endless
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (local $n i64)
    (local.set $n (i64.const 0x7fffffffffffffff))
    (loop
      (local.set $n (i64.or (i64.div_s (i64.rem_u (i64.const -1) (i64.or (local.get $n) (i64.const 1))) (i64.const 3)) (i64.const 0x7000000000000001)))
      (br 0))
    unreachable))
