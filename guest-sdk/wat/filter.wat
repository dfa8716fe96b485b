;; Filter is a guest in plain WebAssembly text, without an SDK: the ABI's sections
;; are cited where it does what they say. It drops records of severity debug and
;; routes those of severity err and worse to the stream "errors".
(module
  (import "runnel" "log" (func $log (param i32 i32 i32))) ;; §5.1

  ;; The first KiB holds texts; the batch lies behind it, and the output behind that.
  (memory (export "memory") 1)
  (global $batch i32 (i32.const 1024))
  (global $out (mut i32) (i32.const 0)) ;; where the output begins
  (data (i32.const 16) "debug")
  (data (i32.const 32) "errors")
  (data (i32.const 48) "this guest takes no config")

  (func (export "runnel_abi_v1"))

  ;; §2.2: the same place for every batch. A verdict is smaller than the record
  ;; it is on, so as much again is enough for the output.
  (func (export "runnel_alloc") (param $size i32) (result i32)
    (local $lack i32)
    (global.set $out (i32.add (global.get $batch) (local.get $size)))
    (local.set $lack ;; in pages
      (i32.sub
        (i32.shr_u (i32.add (i32.add (global.get $out) (local.get $size)) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $lack) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $lack)) (i32.const -1)) (then unreachable))))
    (global.get $batch))

  ;; §2.1: the config of one who wrote none is {}.
  (func (export "runnel_init") (param $at i32) (param $len i32) (result i32)
    (if (i32.eq (local.get $len) (i32.const 2)) (then (return (i32.const 0))))
    (call $log (i32.const 3) (i32.const 48) (i32.const 26))
    (i32.const 1))

  ;; §3.2: the severity is the byte at 4; 255 is not stated.
  (func $severity (param $record i32) (result i32)
    (i32.load8_u offset=4 (local.get $record)))

  (func (export "runnel_process") (param $at i32) (param $len i32) (result i64)
    (local $record i32)
    (local $left i32)
    (local $any i32)
    (local.set $record (i32.add (local.get $at) (i32.const 16))) ;; §3.1
    (local.set $left (i32.load offset=8 (local.get $at)))
    (loop $next
      (if (i32.le_u (call $severity (local.get $record)) (i32.const 3))
        (then (return (call $list (local.get $at)))))
      (local.set $any
        (i32.or (local.get $any) (i32.eq (call $severity (local.get $record)) (i32.const 7))))
      (local.set $record (i32.add (local.get $record) (i32.load (local.get $record))))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (if (result i64) (local.get $any)
      (then (call $filter (local.get $at)))
      (else (i64.const 0)))) ;; keep every record

  ;; §4.6: a byte for each record, and the reason for all.
  (func $filter (param $at i32) (result i64)
    (local $record i32)
    (local $end i32)
    (local $to i32)
    (i32.store (global.get $out) (i32.const 2))
    (i32.store offset=4 (global.get $out) (i32.load offset=8 (local.get $at)))
    (local.set $record (i32.add (local.get $at) (i32.const 16)))
    (local.set $to (i32.add (global.get $out) (i32.const 8)))
    (local.set $end (i32.add (local.get $to) (i32.load offset=8 (local.get $at))))
    (loop $next
      (i32.store8 (local.get $to) (i32.eq (call $severity (local.get $record)) (i32.const 7)))
      (local.set $record (i32.add (local.get $record) (i32.load (local.get $record))))
      (br_if $next
        (i32.lt_u (local.tee $to (i32.add (local.get $to) (i32.const 1))) (local.get $end))))
    (memory.copy (local.get $end) (i32.const 16) (i32.const 5))
    (call $result (i32.add (local.get $end) (i32.const 5))))

  ;; §4.1: a DROP for each debug record, a ROUTE for each error.
  (func $list (param $at i32) (result i64)
    (local $record i32)
    (local $index i32)
    (local $count i32)
    (local $to i32)
    (local $severity i32)
    (local.set $record (i32.add (local.get $at) (i32.const 16)))
    (local.set $to (i32.add (global.get $out) (i32.const 8)))
    (loop $next
      (local.set $severity (call $severity (local.get $record)))
      (if (i32.eq (local.get $severity) (i32.const 7))
        (then
          (local.set $to (call $verdict (local.get $to) (local.get $index) (i32.const 1) (i32.const 16) (i32.const 5)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (if (i32.le_u (local.get $severity) (i32.const 3))
        (then
          (local.set $to (call $verdict (local.get $to) (local.get $index) (i32.const 4) (i32.const 32) (i32.const 6)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $record (i32.add (local.get $record) (i32.load (local.get $record))))
      (br_if $next
        (i32.lt_u (local.tee $index (i32.add (local.get $index) (i32.const 1)))
          (i32.load offset=8 (local.get $at)))))
    (i32.store (global.get $out) (i32.const 1))
    (i32.store offset=4 (global.get $out) (local.get $count))
    (call $result (local.get $to)))

  ;; §4.2: writes a verdict that is a text, and gives where the next begins.
  (func $verdict (param $to i32) (param $index i32) (param $kind i32) (param $text i32) (param $len i32) (result i32)
    (i32.store (local.get $to) (i32.add (local.get $len) (i32.const 12)))
    (i32.store offset=4 (local.get $to) (local.get $index))
    (i32.store offset=8 (local.get $to) (local.get $kind))
    (memory.copy (i32.add (local.get $to) (i32.const 12)) (local.get $text) (local.get $len))
    (i32.add (local.get $to) (i32.add (local.get $len) (i32.const 12))))

  ;; §2.1: the output's address and length, given its end.
  (func $result (param $end i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (global.get $out)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (local.get $end) (global.get $out))))))
