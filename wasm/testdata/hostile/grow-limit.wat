;; Grows its memory to the limit, and asks for more in every size.
;; sound
(module
  (memory (export "memory") 32 96)
  (func (export "runnel_abi_v1"))
  (func (export "runnel_alloc") (param i32) (result i32) (i32.const 1048576))
  (func (export "runnel_init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "runnel_process") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 1)))
    (drop (memory.grow (i32.const -1)))
    (drop (memory.grow (i32.const 65535)))
    (drop (memory.grow (i32.const 65536)))
    (drop (memory.grow (i32.const 0x7fffffff)))
    (block (loop (br_if 1 (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br 0)))
    (if (i32.ne (memory.size) (i32.const 96)) (then unreachable))
    ;; and touches every page
    (memory.fill (i32.const 2097152) (i32.const 165) (i32.const 4194304))
    (i64.const 0)))
