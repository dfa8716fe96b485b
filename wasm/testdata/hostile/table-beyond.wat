;; Copies beyond its table.
;; fails: invalid table access
(module
  (table 10000 funcref)
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (table.copy 0 0 (i32.const 9999) (i32.const -1) (i32.const -1))
    (i64.const 0)))
