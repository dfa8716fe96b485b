;; As loop-switch, with two tables on one variable whose cases differ: a jump that seems to go ahead goes back.
;; fails: not done
;; endless
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (local $case i32)
    (loop $outer
      (block $out (block $in
        (br_table $in $out (local.get $case)))
        (loop $inner
          (block $b (block $a
            (br_table $b $a (local.get $case)))
            (local.set $case (i32.const 0))
            (br $outer))
          (local.set $case (i32.const 0))
          (br $outer)))
      (local.set $case (i32.const 0))
      (br $outer))
    unreachable))
