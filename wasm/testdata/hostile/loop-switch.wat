;; Loops without end in the shape that Go compiles a function to, which the rewriter knows.
;; fails: not done
;; endless
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (local $case i32)
    (loop $switch
      (block $b (block $a
        (br_table $a $b $switch (local.get $case)))
        ;; 0
        (local.set $case (i32.const 1))
        (br $switch))
      ;; 1
      (local.set $case (i32.const 0))
      (br $switch))
    unreachable))
