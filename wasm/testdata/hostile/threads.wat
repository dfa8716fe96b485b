;; Uses atomics.
;; refused: shared or 64-bit memory
(module
  (memory (export "memory") 1 32 shared)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (i64.const 0)))
