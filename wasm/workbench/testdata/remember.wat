;; A guest that does what none should: it counts records in a variable, and keeps
;; no state. Every record gets the count as attribute n. remember.wasm is made of
;; it by: wat2wasm remember.wat
(module
  (memory (export "memory") 4)
  (global $n (mut i64) (i64.const 0))
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 65536)) ;; 192 KiB: all that a case needs
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param $batch i32) (param $size i32) (result i64)
    (local $i i32) (local $count i32) (local $at i32)
    (local.set $count (i32.load offset=8 (local.get $batch)))
    (i32.store (i32.const 1024) (i32.const 1)) ;; a list
    (i32.store (i32.const 1028) (local.get $count))
    (local.set $at (i32.const 1032))
    (loop $next
      (global.set $n (i64.add (global.get $n) (i64.const 1)))
      (i32.store (local.get $at) (i32.const 29)) ;; the verdict's size
      (i32.store offset=4 (local.get $at) (local.get $i))
      (i32.store offset=8 (local.get $at) (i32.const 2)) ;; PATCH
      (i32.store offset=12 (local.get $at) (i32.const 0x10003)) ;; set an int whose key has one byte
      (i32.store offset=16 (local.get $at) (i32.const 8))
      (i32.store8 offset=20 (local.get $at) (i32.const 110)) ;; n
      (i64.store offset=21 (local.get $at) (global.get $n))
      (local.set $at (i32.add (local.get $at) (i32.const 29)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $count))))
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.extend_i32_u (i32.sub (local.get $at) (i32.const 1024))))))
