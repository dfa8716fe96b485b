;; Calls itself as a tail call through a table.
;; refused: tail call
(module
  (type $t (func (param i32 i32) (result i64)))
  (table 1 funcref)
  (elem (i32.const 0) $again)
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func $again (type $t) (return_call_indirect (type $t) (i32.const 0) (i32.const 0) (i32.const 0)))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (return_call_indirect (type $t) (i32.const 0) (i32.const 0) (i32.const 0))))
