;; Fills beyond its memory, by a length that wraps around.
;; fails: out of bounds memory access
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (memory.fill (i32.const -8) (i32.const 1) (i32.const -1))
    (i64.const 0)))
