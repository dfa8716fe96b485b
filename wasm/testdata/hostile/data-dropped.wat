;; Initialises memory from a segment that it has dropped.
;; fails: out of bounds memory access
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (data $d "gone")
  (func (export "runnel_process") (param i32 i32) (result i64)
    (data.drop $d)
    (data.drop $d)
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) ;; of nothing: allowed
    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))
    (i64.const 0)))
