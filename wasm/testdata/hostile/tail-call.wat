;; Calls itself as a tail call without end: a loop without a loop.
;; refused: tail call
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func $again (param i32 i32) (result i64) (return_call $again (local.get 0) (local.get 1)))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (return_call $again (i32.const 0) (i32.const 0))))
