;; Two functions call each other without end.
;; fails: recurses too deep
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func $ping (call $pong))
  (func $pong (call $ping))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (call $ping)
    (i64.const 0)))
