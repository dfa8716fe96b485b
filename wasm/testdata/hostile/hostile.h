// hostile.h is what the hostile modules in C have in common: the exports of ABI v1,
// an output to be filled, and the host's functions. A module defines attack, and
// the body of another export by its macro (ALLOC, INIT, START, TICK, FLUSH).
//
// The first lines of each module say what it does and what the host makes of it;
// corpus_test.go reads them and holds the host to them.
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;

#define HOST(name) __attribute__((import_module("runnel"), import_name(#name))) extern
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(#name)))

HOST(log) void host_log(u32 level, const void *text, u32 n);
HOST(now) i64 host_now(void);
HOST(state_get) int host_get(const void *key, u32 k, void *buffer, u32 n);
HOST(state_set) int host_set(const void *key, u32 k, const void *value, u32 n);
HOST(state_delete) int host_delete(const void *key, u32 k);
HOST(state_next) int host_next(const void *key, u32 k, void *buffer, u32 n);
HOST(held) int host_held(const void *key, u32 k, void *buffer, u32 n);
HOST(metric_add) void host_metric(const void *name, u32 n, double value);
HOST(lookup) int host_lookup(const void *table, u32 t, const void *key, u32 k, void *buffer, u32 n);
HOST(scan) int host_scan(const void *text, u32 t, const void *word, u32 w);

#define FOREVER for (volatile u32 turn = 0;; turn++) {}

enum { DROP = 1, PATCH, REPLACE, ROUTE, EMIT, HOLD, FAIL, RELEASE, MERGE, DISCARD };
enum { NOBODY = -1 };

static u8 input[1 << 20];
static u8 output[3 << 20];
static u32 end;       // of the output
static int selective; // only batches with a poisoned record are attacked: the config says so

static u16 load16(const void *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
static u32 load32(const void *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
static void store16(void *p, u16 v) { __builtin_memcpy(p, &v, 2); }
static void store32(void *p, u32 v) { __builtin_memcpy(p, &v, 4); }

static inline void put(const void *p, u32 n) {
	const u8 *from = p;
	for (u32 i = 0; i < n; i++) output[end + i] = from[i];
	end += n;
}

static inline void put8(u8 v) { output[end++] = v; }
static inline void put16(u16 v) { store16(output + end, v); end += 2; }
static inline void put32(u32 v) { store32(output + end, v); end += 4; }

// begin starts a list, whose count finish fills in.
static inline void begin(void) {
	end = 0;
	put32(1);
	put32(0);
}

static inline u64 answer(u32 at, u32 n) { return (u64)at << 32 | n; }

static inline u64 finish(u32 count) {
	store32(output + 4, count);
	return answer((u32)output, end);
}

// header starts a verdict with a payload of n bytes.
static inline void header(u32 index, u32 kind, u32 n) {
	put32(12 + n);
	put32(index);
	put32(kind);
}

static inline void verdict(u32 index, u32 kind, const void *payload, u32 n) {
	header(index, kind, n);
	put(payload, n);
}

// operation appends one of a PATCH.
static inline void operation(u32 code, const void *key, u32 k, const void *value, u32 n) {
	put16(code);
	put16(k);
	put32(n);
	put(key, k);
	put(value, n);
}

static inline u32 records(u32 at) { return load32((u8 *)at + 8); }

static int poisoned(u32 at, u32 n) {
	static const char word[] = "POISON!";
	for (u32 i = 0; i + 7 <= n; i++) {
		u32 k = 0;
		while (k < 7 && ((u8 *)at)[i + k] == (u8)word[k]) k++;
		if (k == 7) return 1;
	}
	return 0;
}

static u64 attack(u32 at, u32 n);

EXPORT(runnel_abi_v1) void runnel_abi_v1(void) {}

EXPORT(runnel_alloc) u32 runnel_alloc(u32 n) {
#ifdef ALLOC
	ALLOC
#endif
	return n <= sizeof input ? (u32)input : 0;
}

EXPORT(runnel_init) u32 runnel_init(u32 at, u32 n) {
#ifdef INIT
	INIT
#endif
	selective = poisoned(at, n);
	return 0;
}

EXPORT(runnel_process) u64 runnel_process(u32 at, u32 n) {
	if (selective && !poisoned(at, n)) return 0;
	return attack(at, n);
}

#ifdef START
EXPORT(_initialize) void initialize(void) { START }
#endif
#ifdef TICK
EXPORT(runnel_tick) u64 runnel_tick(i64 now) { TICK }
#endif
#ifdef FLUSH
EXPORT(runnel_flush) u64 runnel_flush(void) { FLUSH }
#endif

#define KEEP_ALL static u64 attack(u32 at, u32 n) { return 0; }
