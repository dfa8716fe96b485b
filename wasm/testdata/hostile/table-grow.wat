;; Grows its table.
;; refused: table.grow
(module
  (table 1 funcref)
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (loop (drop (table.grow 0 (ref.null func) (i32.const 1000000))) (br 0))
    unreachable))
