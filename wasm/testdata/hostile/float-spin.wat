;; Takes square roots and divides floats, denormal ones too, without end.
;; fails: not done
;; endless
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (local $x f64)
    (local.set $x (f64.const 2))
    (loop
      (local.set $x (f64.div (f64.sqrt (f64.add (f64.mul (local.get $x) (f64.const 1e-310)) (f64.const 5e-324))) (f64.nearest (f64.const 3.5))))
      (local.set $x (f64.add (local.get $x) (f64.promote_f32 (f32.sqrt (f32.demote_f64 (local.get $x))))))
      (br 0))
    unreachable))
