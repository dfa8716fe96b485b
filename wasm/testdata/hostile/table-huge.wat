;; Has a table of four billion elements.
;; refused: a table of 4294967295 elements
(module
  (table 4294967295 funcref)
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (i64.const 0)))
