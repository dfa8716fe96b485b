;; Fills the whole of its memory without end.
;; fails: not done
;; endless
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 2097152)) (br 0))
    unreachable))
