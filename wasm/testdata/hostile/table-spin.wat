;; Fills, copies and initialises a table of the greatest size without end.
;; fails: not done
;; endless
(module
  (table 10000 funcref)
  (elem $some func $f $f $f $f)
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func $f)
  (func (export "runnel_process") (param i32 i32) (result i64)
    (loop
      (table.fill 0 (i32.const 0) (ref.null func) (i32.const 10000))
      (table.copy 0 0 (i32.const 0) (i32.const 1) (i32.const 9999))
      (table.init 0 $some (i32.const 0) (i32.const 0) (i32.const 4))
      (br 0))
    unreachable))
