// runnel.h is the SDK for guests written in C: it turns the bytes of ABI v1
// (guest-sdk/ABI.md) into records that a handler can read, change, drop, route,
// hold and emit.
//
// Include it in one file of the guest, and end that file with RUNNEL_GUEST. It
// needs no library, allocates nothing for a record, and a guest links only what
// it calls: one that never asks for state does not import it. A text is a view,
// borrowed from the batch: it is good until the handler returns. Compiled for
// another machine than WebAssembly it makes a guest for native tests, whose host
// functions (rn_host_…) the test brings (test/host.h).
#ifndef RUNNEL_H
#define RUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
#define RN_IMPORT(name) __attribute__((import_module("runnel"), import_name(name)))
#define RN_EXPORT(name) __attribute__((export_name(name)))
#else
#include <stdlib.h>
#define RN_IMPORT(name)
#define RN_EXPORT(name)
#endif
// What a hot path calls takes plain numbers: a struct goes by way of memory, word by word.
#define RN_CALL static __attribute__((noinline, unused))
#define RN_FAST static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define RN_SLOW static __attribute__((noinline, minsize, unused))
#else
#define RN_SLOW static __attribute__((noinline, unused))
#endif

// ---- Texts

// A text is a view of bytes. It does not end with a NUL and need not be UTF-8.
typedef struct {
	const char *at;
	uint32_t len;
} rn_text;

// RN makes a text of a literal.
#define RN(literal) ((rn_text){"" literal, sizeof(literal) - 1})

RN_FAST uint16_t rn__load16(const void *p) { uint16_t v; __builtin_memcpy(&v, p, 2); return v; }
RN_FAST uint32_t rn__load32(const void *p) { uint32_t v; __builtin_memcpy(&v, p, 4); return v; }
RN_FAST uint64_t rn__load64(const void *p) { uint64_t v; __builtin_memcpy(&v, p, 8); return v; }
RN_FAST void rn__store16(void *p, uint16_t v) { __builtin_memcpy(p, &v, 2); }
RN_FAST void rn__store32(void *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }
RN_FAST void rn__store64(void *p, uint64_t v) { __builtin_memcpy(p, &v, 8); }

// rn__copy_here copies n bytes that do not overlap. Short texts, which most keys
// and values are, go by two loads and stores: a bulk copy is a call of the host.
RN_FAST void rn__copy_here(void *to, const void *from, uint32_t n) {
	uint8_t *d = to;
	const uint8_t *s = from;
	if (n > 16) {
		__builtin_memcpy(d, s, n);
	} else if (n >= 8) {
		uint64_t last = rn__load64(s + n - 8);
		rn__store64(d, rn__load64(s));
		rn__store64(d + n - 8, last);
	} else if (n >= 4) {
		uint32_t last = rn__load32(s + n - 4);
		rn__store32(d, rn__load32(s));
		rn__store32(d + n - 4, last);
	} else if (n > 0) {
		d[0] = s[0];
		if (n > 1) rn__store16(d + n - 2, rn__load16(s + n - 2));
	}
}

RN_CALL void rn__copy_there(void *to, const void *from, uint32_t n) { rn__copy_here(to, from, n); }

// rn_copy_bytes copies n bytes that do not overlap.
RN_FAST void rn_copy_bytes(void *to, const void *from, uint32_t n) {
	if (__builtin_constant_p(n)) rn__copy_here(to, from, n);
	else rn__copy_there(to, from, n);
}

RN_FAST bool rn__same(const char *a, const char *b, uint32_t n) {
	for (; n >= 8; a += 8, b += 8, n -= 8)
		if (rn__load64(a) != rn__load64(b)) return false;
	if (n >= 4) {
		if (rn__load32(a) != rn__load32(b)) return false;
		a += 4, b += 4, n -= 4;
	}
	if (n >= 2) {
		if (rn__load16(a) != rn__load16(b)) return false;
		a += 2, b += 2, n -= 2;
	}
	return n == 0 || *a == *b;
}

// rn_equal compares two texts; rn_is compares one with a literal.
RN_CALL bool rn__same_there(const char *a, const char *b, uint32_t n) { return rn__same(a, b, n); }
RN_FAST bool rn_equal(rn_text a, rn_text b) {
	if (a.len != b.len) return false;
	return __builtin_constant_p(b.len) ? rn__same(a.at, b.at, b.len) : rn__same_there(a.at, b.at, b.len);
}
#define rn_is(text, literal) rn_equal(text, RN(literal))

// ---- Host services (ABI §5)

RN_IMPORT("log") void rn_host_log(uint32_t level, const void *at, uint32_t len);
RN_IMPORT("now") int64_t rn_host_now(void);
RN_IMPORT("scan") int32_t rn_host_scan(const void *at, uint32_t len, const void *word, uint32_t word_len);
RN_IMPORT("state_get") int32_t rn_host_state_get(const void *key, uint32_t len, void *to, uint32_t room);
RN_IMPORT("state_set") int32_t rn_host_state_set(const void *key, uint32_t len, const void *value, uint32_t size);
RN_IMPORT("state_delete") int32_t rn_host_state_delete(const void *key, uint32_t len);
RN_IMPORT("state_next") int32_t rn_host_state_next(const void *key, uint32_t len, void *to, uint32_t room);
RN_IMPORT("held") int32_t rn_host_held(const void *key, uint32_t len, void *to, uint32_t room);
RN_IMPORT("metric_add") void rn_host_metric_add(const void *name, uint32_t len, double value);
RN_IMPORT("lookup") int32_t rn_host_lookup(const void *table, uint32_t table_len, const void *key, uint32_t len, void *to, uint32_t room);

enum { RN_LOG_DEBUG, RN_LOG_INFO, RN_LOG_WARN, RN_LOG_ERROR };

// rn_log writes a line to the agent's log; the host lets ten a second through.
RN_FAST void rn_log(uint32_t level, rn_text line) { rn_host_log(level, line.at, line.len); }

// rn_now is the batch's clock: nanoseconds since 1970 UTC, the same for a whole call.
RN_FAST int64_t rn_now(void) { return rn_host_now(); }

// rn_find says where in the text the word first is, or -1. The host looks, which
// pays from some hundred bytes on.
RN_FAST int32_t rn_find(rn_text text, rn_text word) { return rn_host_scan(text.at, text.len, word.at, word.len); }

// ---- Memory

#ifdef __wasm__
enum { RN__PAGE = 65536 };
static uint8_t *rn__spare; // a buffer that became too small, for whom it is large enough
static uint32_t rn__spare_size;

// rn__pages takes n bytes, a multiple of a page, at the end of the memory. They
// are nobody else's: a malloc that is linked too takes its own.
RN_SLOW uint8_t *rn__pages(uint32_t n) {
	size_t page = __builtin_wasm_memory_grow(0, n / RN__PAGE);
	if (page == (size_t)-1) __builtin_trap();
	return (uint8_t *)(page * RN__PAGE);
}
#endif

static uint32_t rn__given; // the size of what rn__larger gave

// rn__larger gives a buffer of at least `need` bytes that begins with the first
// `used` of the old one, which it takes back.
RN_SLOW uint8_t *rn__larger(uint8_t *old, uint32_t used, uint32_t size, uint32_t need) {
	uint32_t want = 2 * size > need ? 2 * size : need;
#ifdef __wasm__
	want = (want + RN__PAGE - 1) & ~(uint32_t)(RN__PAGE - 1);
	rn__given = want;
	if (old != NULL && (size_t)(old + size) == __builtin_wasm_memory_size(0) * RN__PAGE) {
		rn__pages(want - size);
		return old;
	}
	uint8_t *at = rn__spare;
	if (rn__spare_size >= need) {
		rn__given = rn__spare_size;
		rn__spare_size = 0;
	} else {
		at = rn__pages(want);
	}
	__builtin_memcpy(at, old, used);
	if (size > rn__spare_size) {
		rn__spare = old;
		rn__spare_size = size;
	}
	return at;
#else
	(void)used;
	rn__given = want;
	return realloc(old, want);
#endif
}

static uint8_t rn__first[1024] __attribute__((aligned(8)));
static uint8_t *rn__free = rn__first, *rn__mark; // where the next space begins; the same when a call begins
static uint32_t rn__left = sizeof rn__first, rn__mark_left, rn__chunk;
static bool rn__ready; // runnel_init is over

// rn_alloc gives n bytes: for good while the config is read, and later until the
// call returns. Nobody frees them.
RN_SLOW void *rn_alloc(uint32_t n) {
	n = (n + 7) & ~7u;
	if (n > rn__left) {
		rn__free = rn__mark = rn__larger(NULL, 0, 0, n > 2 * rn__chunk ? n : 2 * rn__chunk);
		rn__left = rn__mark_left = rn__chunk = rn__given;
	}
	uint8_t *at = rn__free;
	rn__free += n;
	rn__left -= n;
	return at;
}

static uint8_t *rn__scratch; // what the host copies to
static uint32_t rn__scratch_size;

RN_SLOW uint8_t *rn__scratch_of(uint32_t n) {
	if (n > rn__scratch_size) {
		rn__scratch = rn__larger(rn__scratch, 0, rn__scratch_size, n);
		rn__scratch_size = rn__given;
	}
	return rn__scratch;
}

// ---- Records (ABI §3)

enum { RN_EMERG, RN_ALERT, RN_CRIT, RN_ERR, RN_WARNING, RN_NOTICE, RN_INFO, RN_DEBUG };
#define RN_ABSENT 255        // a severity or facility that was not stated
#define RN_NO_TIME INT64_MIN // an event time that was not stated

enum {
	RN_TRUNCATED = 1, RN_MALFORMED = 2, RN_HOST_FILLED = 4, RN_TIME_SKEWED = 8, RN_BEST_EFFORT = 16,
	RN_DUPLICATE = 32, RN_DEAD = 64, RN_MODULE_FAILED = 128, RN_PARTIAL = 256, RN_GAP = 512,
};

// A record, as it came: what a handler sets is not seen by a later read.
typedef struct {
	const uint8_t *p;
	uint32_t index; // in its batch, from 0
} rn_record;

enum { RN__HEADER = 56, RN__HELD = -2, RN__MERGED = -3, RN__NONE = -1 };

RN_FAST uint8_t rn_severity(const rn_record *r) { return r->p[4]; }
RN_FAST uint8_t rn_facility(const rn_record *r) { return r->p[5]; }
RN_FAST uint16_t rn_flags(const rn_record *r) { return rn__load16(r->p + 6); }
RN_FAST int64_t rn_time(const rn_record *r) { return (int64_t)rn__load64(r->p + 8); }
RN_FAST int64_t rn_received(const rn_record *r) { return (int64_t)rn__load64(r->p + 16); }

// rn__field gives the n-th of the texts whose lengths stand from 24 on.
RN_FAST rn_text rn__field(const rn_record *r, uint32_t n) {
	uint32_t at = RN__HEADER;
	for (uint32_t i = 0; i < n; i++) at += rn__load16(r->p + 24 + 2 * i);
	return (rn_text){(const char *)r->p + at, rn__load16(r->p + 24 + 2 * n)};
}

RN_FAST rn_text rn_host(const rn_record *r) { return rn__field(r, 0); }
RN_FAST rn_text rn_app(const rn_record *r) { return rn__field(r, 1); }
RN_FAST rn_text rn_procid(const rn_record *r) { return rn__field(r, 2); }
RN_FAST rn_text rn_msgid(const rn_record *r) { return rn__field(r, 3); }
RN_FAST rn_text rn_stream(const rn_record *r) { return rn__field(r, 4); }
RN_FAST rn_text rn_input(const rn_record *r) { return rn__field(r, 5); }
RN_FAST rn_text rn_peer(const rn_record *r) { return rn__field(r, 6); }
RN_FAST rn_text rn_agent(const rn_record *r) { return rn__field(r, 7); }

// rn_message is the text, byte for byte: it ends where the attributes begin.
RN_FAST rn_text rn_message(const rn_record *r) {
	uint32_t len = rn__load32(r->p + 48);
	return (rn_text){(const char *)r->p + rn__load32(r->p) - rn__load32(r->p + 52) - len, len};
}

// rn_sd is the STRUCTURED-DATA as it came, brackets and escapes included.
RN_FAST rn_text rn_sd(const rn_record *r) {
	uint32_t len = rn__load32(r->p + 44);
	return (rn_text){rn_message(r).at - len, len};
}

enum { RN_STRING = 1, RN_BYTES = 2, RN_INT = 3, RN_FLOAT = 4, RN_BOOL = 5, RN_JSON = 6 };

// An attribute. Kind 0: there is none of that name.
typedef struct {
	uint32_t kind;
	rn_text key;
	rn_text data; // as encoded: 8 bytes of an int or float, one of a bool
} rn_attr;

// rn_attr_next steps through the attributes; begin with (rn_attr){0}.
RN_FAST bool rn_attr_next(const rn_record *r, rn_attr *a) {
	const char *end = (const char *)r->p + rn__load32(r->p);
	const char *at = a->kind == 0 ? end - rn__load32(r->p + 52) : a->data.at + a->data.len;
	if (at == end) return false;
	uint64_t h = rn__load64(at);
	a->kind = h & 0xff;
	a->key = (rn_text){at + 8, (uint32_t)(h >> 16) & 0xffff};
	a->data = (rn_text){a->key.at + a->key.len, (uint32_t)(h >> 32)};
	return true;
}

RN_FAST rn_attr rn_attr_of(const rn_record *r, rn_text key) {
	rn_attr a = {0};
	while (rn_attr_next(r, &a))
		if (a.key.len == key.len && rn__same(a.key.at, key.at, key.len)) return a;
	return (rn_attr){0};
}

// The values of an attribute; of another kind, or of none: "", 0 and false.
RN_FAST rn_text rn_text_of(rn_attr a) {
	return a.kind == RN_STRING || a.kind == RN_BYTES || a.kind == RN_JSON ? a.data : (rn_text){"", 0};
}
RN_FAST int64_t rn_int_of(rn_attr a) { return a.kind == RN_INT ? (int64_t)rn__load64(a.data.at) : 0; }
RN_FAST bool rn_bool_of(rn_attr a) { return a.kind == RN_BOOL && a.data.at[0] != 0; }
RN_FAST double rn_float_of(rn_attr a) {
	double v = 0;
	if (a.kind == RN_FLOAT) __builtin_memcpy(&v, a.data.at, 8);
	return a.kind == RN_INT ? (double)rn_int_of(a) : v;
}

// A batch of records; rn_next gives them in order.
typedef struct {
	const uint8_t *at;
	uint32_t left;
} rn_batch;

RN_FAST bool rn_next(rn_batch *b, rn_record *r) {
	if (b->left == 0) return false;
	b->left--;
	*r = (rn_record){b->at, RN__HELD};
	b->at += rn__load32(b->at);
	return true;
}

// ---- The output (ABI §4)
//
// One buffer holds it. The verdict that decides on the record at hand ends at
// rn__tail; what stands behind that are EMITs, and what was let go since. It is
// all in variables of their own, so that the compiler knows that no text can
// overwrite them.

enum {
	RN__DROP = 1, RN__PATCH = 2, RN__REPLACE = 3, RN__EMIT = 5, RN__HOLD = 6, RN__FAIL = 7,
	RN__RELEASE = 8, RN__MERGE = 9, RN__DISCARD = 10,
};

static uint8_t *rn__out;
static uint32_t rn__size, rn__len, rn__tail;
static uint32_t rn__kind;  // of the deciding verdict; 0: none yet
static uint32_t rn__open;  // where it begins
static uint32_t rn__merge; // where the MERGE begins that was made last
static uint32_t rn__index, rn__count;
static bool rn__making; // rn__new is to be written

RN_SLOW void rn__grow(uint32_t need) {
	rn__out = rn__larger(rn__out, rn__len, rn__size, need);
	rn__size = rn__given;
}

RN_SLOW void rn__shift(uint32_t at, uint32_t to) {
	__builtin_memmove(rn__out + to, rn__out + at, rn__len - at);
	rn__len += to - at;
	rn__merge = 0; // it may not be where it was
}

// rn__append makes room for n bytes at the end.
RN_FAST uint8_t *rn__append(uint32_t n) {
	if (n > rn__size - rn__len) rn__grow(rn__len + n);
	uint8_t *at = rn__out + rn__len;
	rn__len += n;
	return at;
}

// rn__hole makes room for n bytes at the end of the deciding verdict.
RN_FAST uint8_t *rn__hole(uint32_t n) {
	uint32_t at = rn__tail;
	if (n > rn__size - rn__len) rn__grow(rn__len + n);
	if (at == rn__len)
		rn__len += n;
	else
		rn__shift(at, at + n);
	rn__tail = at + n;
	return rn__out + at;
}

RN_FAST uint8_t *rn__begin(uint32_t kind, uint32_t n) {
	uint8_t *h = rn__hole(12 + n);
	rn__open = rn__tail - 12 - n;
	rn__kind = kind;
	rn__store64(h + 4, (uint64_t)kind << 32 | rn__index);
	return h + 12;
}

// rn__decide begins a deciding verdict; it takes the place of what was said before.
RN_FAST uint8_t *rn__decide(uint32_t kind, uint32_t n) {
	if (rn__kind != 0) {
		rn__shift(rn__tail, rn__open);
		rn__tail = rn__open;
	}
	return rn__begin(kind, n);
}

RN_FAST void rn__decide_here(uint32_t kind, rn_text text) { rn_copy_bytes(rn__decide(kind, text.len), text.at, text.len); }
RN_CALL void rn__decide_there(uint32_t kind, const char *at, uint32_t len) { rn__decide_here(kind, (rn_text){at, len}); }
RN_FAST void rn__decide_text(uint32_t kind, rn_text text) {
	if (__builtin_constant_p(text.len)) rn__decide_here(kind, text);
	else rn__decide_there(kind, text.at, text.len);
}

// rn__let_go writes a verdict on a key: before what is said of the record at
// hand, or behind it if something was said already.
RN_SLOW void rn__written(void);
RN_SLOW uint8_t *rn__let_go(uint32_t kind, uint32_t n) {
	if (rn__making) rn__written();
	bool before = rn__kind == 0 && rn__tail == rn__len;
	uint8_t *h = rn__append(12 + n);
	rn__store64(h, (uint64_t)rn__index << 32 | (12 + n));
	rn__store32(h + 8, kind);
	rn__count++;
	if (before) rn__tail = rn__len;
	return h + 12;
}

// rn__set_other is a change of another record than the one at hand: of the merged
// one, while its MERGE stands last; of any other it is lost.
RN_SLOW uint8_t *rn__set_other(uint32_t index, uint32_t n) {
	if (index != (uint32_t)RN__MERGED || rn__merge == 0 || rn__merge + rn__load32(rn__out + rn__merge) != rn__len)
		return rn__scratch_of(n);
	bool before = rn__tail == rn__len;
	uint8_t *h = rn__append(n);
	if (before) rn__tail = rn__len;
	rn__store32(rn__out + rn__merge, rn__len - rn__merge);
	return h;
}

// rn__op adds an operation to the PATCH and returns where its value goes. A change
// of a record that was dropped, held or the like already is lost.
RN_FAST uint8_t *rn__op(uint32_t index, uint32_t code, rn_text key, uint32_t n) {
	uint8_t *h;
	if (index >= (uint32_t)RN__MERGED)
		h = rn__set_other(index, 8 + key.len + n);
	else if (rn__kind == 0)
		h = rn__begin(RN__PATCH, 8 + key.len + n);
	else if (rn__kind == RN__PATCH)
		h = rn__hole(8 + key.len + n);
	else
		h = rn__scratch_of(8 + key.len + n);
	rn__store64(h, code | (uint64_t)key.len << 16 | (uint64_t)n << 32);
	rn__copy_here(h + 8, key.at, key.len);
	return h + 8 + key.len;
}

RN_FAST void rn__op_here(uint32_t index, uint32_t code, rn_text key, rn_text v) { rn__copy_here(rn__op(index, code, key, v.len), v.at, v.len); }
RN_CALL void rn__op_there(uint32_t index, uint32_t code, const char *key, uint32_t key_len, const char *v, uint32_t len) {
	rn__op_here(index, code, (rn_text){key, key_len}, (rn_text){v, len});
}

// rn__op_text is written out where the key is a literal, which is fast, and called
// where it is not, or a guest would be all copying.
RN_FAST void rn__op_text(const rn_record *r, uint32_t code, rn_text key, rn_text v) {
	if (__builtin_constant_p(key.len) && (code < 19 || code == 25)) rn__op_here(r->index, code, key, v);
	else rn__op_there(r->index, code, key.at, key.len, v.at, v.len);
}
RN_FAST void rn__op_byte(const rn_record *r, uint32_t code, rn_text key, uint8_t v) { rn__op_text(r, code, key, (rn_text){(const char *)&v, 1}); }
RN_FAST void rn__op_word(const rn_record *r, uint32_t code, rn_text key, uint64_t v) { rn__op_text(r, code, key, (rn_text){(const char *)&v, 8}); }
RN_FAST uint64_t rn__bits(double v) { uint64_t u; __builtin_memcpy(&u, &v, 8); return u; }
#define RN__NO ((rn_text){"", 0})

// Attributes. Setting one that is there puts the new one last.
RN_FAST void rn_set(const rn_record *r, rn_text key, rn_text v) { rn__op_text(r, RN_STRING, key, v); }
RN_FAST void rn_set_bytes(const rn_record *r, rn_text key, rn_text v) { rn__op_text(r, RN_BYTES, key, v); }
RN_FAST void rn_set_int(const rn_record *r, rn_text key, int64_t v) { rn__op_word(r, RN_INT, key, (uint64_t)v); }
RN_FAST void rn_set_float(const rn_record *r, rn_text key, double v) { rn__op_word(r, RN_FLOAT, key, rn__bits(v)); }
RN_FAST void rn_set_bool(const rn_record *r, rn_text key, bool v) { rn__op_byte(r, RN_BOOL, key, v); }
RN_FAST void rn_set_json(const rn_record *r, rn_text key, rn_text v) { rn__op_text(r, RN_JSON, key, v); }
RN_FAST void rn_remove(const rn_record *r, rn_text key) { rn__op_text(r, 7, key, RN__NO); }

// rn_set_attr sets an attribute as another one encodes it, under a name of its own.
RN_FAST void rn_set_attr(const rn_record *r, rn_text key, rn_attr a) { rn__op_text(r, a.kind, key, a.data); }

// rn_rename gives an attribute another name, and puts it last; one that has that
// name already makes way, and one that is not there is no mistake.
RN_FAST void rn_rename(const rn_record *r, rn_text from, rn_text to) { rn__op_text(r, 8, from, to); }

// A prepared change is one that is the same for many records, or several one after
// another: made once, where the config is read, and applied for half the price.
// rn_prepare adds one that sets an attribute to the change, rn_prepare_rename one
// that renames and rn_prepare_route one that routes; begin with (rn_text){0}.
RN_SLOW void rn__prepare(rn_text *change, uint32_t code, rn_text key, rn_text v) {
	uint8_t *h = rn_alloc(change->len + 8 + key.len + v.len), *op = h + change->len;
	rn_copy_bytes(h, change->at, change->len);
	rn__store64(op, code | (uint64_t)key.len << 16 | (uint64_t)v.len << 32);
	rn_copy_bytes(op + 8, key.at, key.len);
	rn_copy_bytes(op + 8 + key.len, v.at, v.len);
	*change = (rn_text){(char *)h, change->len + 8 + key.len + v.len};
}
RN_FAST void rn_prepare(rn_text *change, rn_attr a) { rn__prepare(change, a.kind, a.key, a.data); }
RN_FAST void rn_prepare_rename(rn_text *change, rn_text from, rn_text to) { rn__prepare(change, 8, from, to); }
RN_FAST void rn_prepare_route(rn_text *change, rn_text stream) { rn__prepare(change, 25, RN__NO, stream); }

RN_CALL void rn__apply(uint32_t index, const char *at, uint32_t len) {
	if (len < 8) return;
	uint8_t *h = rn__op(index, 0, RN__NO, len - 8) - 8;
	uint32_t i = 0;
	for (; i + 16 < len; i += 8) rn__store64(h + i, rn__load64(at + i));
	uint64_t last = rn__load64(at + len - 8);
	rn__store64(h + i, rn__load64(at + i));
	rn__store64(h + len - 8, last);
}
RN_FAST void rn_apply(const rn_record *r, rn_text change) { rn__apply(r->index, change.at, change.len); }

// Fields.
RN_FAST void rn_set_severity(const rn_record *r, uint8_t v) { rn__op_byte(r, 16, RN__NO, v); }
RN_FAST void rn_set_facility(const rn_record *r, uint8_t v) { rn__op_byte(r, 17, RN__NO, v); }
RN_FAST void rn_set_time(const rn_record *r, int64_t ns) { rn__op_word(r, 18, RN__NO, (uint64_t)ns); }
RN_FAST void rn_set_host(const rn_record *r, rn_text v) { rn__op_text(r, 19, RN__NO, v); }
RN_FAST void rn_set_app(const rn_record *r, rn_text v) { rn__op_text(r, 20, RN__NO, v); }
RN_FAST void rn_set_procid(const rn_record *r, rn_text v) { rn__op_text(r, 21, RN__NO, v); }
RN_FAST void rn_set_msgid(const rn_record *r, rn_text v) { rn__op_text(r, 22, RN__NO, v); }
RN_FAST void rn_set_sd(const rn_record *r, rn_text v) { rn__op_text(r, 23, RN__NO, v); }
RN_FAST void rn_set_message(const rn_record *r, rn_text v) { rn__op_text(r, 24, RN__NO, v); }

// rn_message_space sets the message to n bytes that the caller fills in before it
// says anything else.
RN_FAST char *rn_message_space(const rn_record *r, uint32_t n) { return (char *)rn__op(r->index, 24, RN__NO, n); }

// rn_route sends the record to a stream of the config; "" undoes a route.
RN_FAST void rn_route(const rn_record *r, rn_text stream) { rn__op_text(r, 25, RN__NO, stream); }

// rn_drop drops the record; the host counts the reason. It undoes what was said of
// the record before, as do rn_fail, which hands it to the module's on_error, and
// rn_hold, which keeps it as it came until its key is let go.
RN_FAST void rn_drop(const rn_record *r, rn_text reason) { (void)r; rn__decide_text(RN__DROP, reason); }
RN_FAST void rn_fail(const rn_record *r, rn_text message) { (void)r; rn__decide_text(RN__FAIL, message); }
RN_FAST void rn_hold(const rn_record *r, rn_text key) { (void)r; rn__decide_text(RN__HOLD, key); }

// rn_release lets the records held under the key go on, rn_discard drops them. They
// go before the record at hand, or behind it if a verdict was said on it already.
RN_FAST void rn_release(rn_text key) { rn_copy_bytes(rn__let_go(RN__RELEASE, key.len), key.at, key.len); }
RN_SLOW void rn__keyed(uint32_t kind, rn_text key, rn_text rest) {
	uint8_t *h = rn__let_go(kind, 4 + key.len + rest.len);
	rn__store32(h, key.len);
	rn_copy_bytes(h + 4, key.at, key.len);
	rn_copy_bytes(h + 4 + key.len, rest.at, rest.len);
}
RN_FAST void rn_discard(rn_text key, rn_text reason) { rn__keyed(RN__DISCARD, key, reason); }

// rn_merge makes one record of those held under the key: the first, with what is
// now set on the record it returns. That one has nothing to read, and takes
// changes until something else is said. rn_join gives it the messages of all.
RN_SLOW const rn_record *rn_merge(rn_text key) {
	static const uint8_t empty[RN__HEADER] = {RN__HEADER};
	static const rn_record merged = {empty, RN__MERGED};
	rn__keyed(RN__MERGE, key, RN__NO);
	rn__merge = rn__len - 16 - key.len;
	return &merged;
}
RN_FAST void rn_join(const rn_record *merged, rn_text between) { rn__op_text(merged, 26, RN__NO, between); }

// ---- Records a guest makes (ABI §4.4)

// A new record. What is not set is absent, and where it came from the host fills in.
typedef struct {
	int64_t time;
	uint8_t severity, facility;
	rn_text host, app, procid, msgid, stream, sd, message; // borrowed until it is written
	uint32_t kind, attr_count, attr_len;
} rn_new;

static rn_new rn__new;
static uint8_t *rn__attrs; // of rn__new
static uint32_t rn__attrs_size;

// rn__encode writes the record (ABI §3.2).
RN_SLOW void rn__encode(uint8_t *h, const rn_new *n, uint32_t size) {
	__builtin_memset(h, 0, RN__HEADER);
	rn__store32(h, size);
	h[4] = n->severity;
	h[5] = n->facility;
	rn__store64(h + 8, (uint64_t)n->time);
	const rn_text *fields[] = {&n->host, &n->app, &n->procid, &n->msgid, &n->stream};
	uint8_t *at = h + RN__HEADER;
	for (uint32_t i = 0; i < 5; i++) {
		rn__store16(h + 24 + 2 * i, (uint16_t)fields[i]->len);
		rn_copy_bytes(at, fields[i]->at, fields[i]->len);
		at += fields[i]->len;
	}
	rn__store16(h + 42, (uint16_t)n->attr_count);
	rn__store32(h + 44, n->sd.len);
	rn__store32(h + 48, n->message.len);
	rn__store32(h + 52, n->attr_len);
	rn_copy_bytes(at, n->sd.at, n->sd.len);
	rn_copy_bytes(at + n->sd.len, n->message.at, n->message.len);
	rn_copy_bytes(at + n->sd.len + n->message.len, rn__attrs, n->attr_len);
}

// rn__written writes the record that is being made: an emitted one as a verdict of
// its own, a replacement into the verdict that rn_replace began.
RN_SLOW void rn__written(void) {
	rn_new *n = &rn__new;
	uint32_t size = RN__HEADER + n->host.len + n->app.len + n->procid.len + n->msgid.len + n->stream.len +
	                n->sd.len + n->message.len + n->attr_len;
	rn__making = false;
	if (n->kind == RN__EMIT) {
		uint8_t *h = rn__append(12 + size);
		rn__store64(h, (uint64_t)rn__index << 32 | (12 + size));
		rn__store32(h + 8, RN__EMIT);
		rn__encode(h + 12, n, size);
		rn__count++;
	} else if (rn__kind == RN__REPLACE) { // and not dropped since
		rn__encode(rn__hole(size), n, size);
	}
}

RN_SLOW rn_new *rn__make(uint32_t kind) {
	if (rn__making) rn__written();
	rn__new = (rn_new){.time = RN_NO_TIME, .severity = RN_ABSENT, .facility = RN_ABSENT, .kind = kind};
	rn__making = true;
	return &rn__new;
}

// rn_emit adds a record behind the one at hand, or to what a tick says. Fill it in
// before the next rn_emit or rn_replace, before anything is let go, and before the
// handler returns.
RN_FAST rn_new *rn_emit(void) { return rn__make(RN__EMIT); }

// rn_replace puts a new record in this one's place.
RN_FAST rn_new *rn_replace(const rn_record *r) {
	(void)r;
	rn_new *n = rn__make(RN__REPLACE);
	rn__decide(RN__REPLACE, 0);
	return n;
}

RN_SLOW uint8_t *rn__attrs_of(rn_new *n, uint32_t size) {
	if (size > rn__attrs_size - n->attr_len) {
		rn__attrs = rn__larger(rn__attrs, n->attr_len, rn__attrs_size, n->attr_len + size);
		rn__attrs_size = rn__given;
	}
	n->attr_len += size;
	return rn__attrs + n->attr_len - size;
}

// rn_copy takes over every field and attribute of r that a guest may set.
RN_SLOW void rn_copy(rn_new *n, const rn_record *r) {
	n->time = rn_time(r), n->severity = rn_severity(r), n->facility = rn_facility(r);
	n->host = rn_host(r), n->app = rn_app(r), n->procid = rn_procid(r), n->msgid = rn_msgid(r);
	n->stream = rn_stream(r), n->sd = rn_sd(r), n->message = rn_message(r);
	uint32_t size = rn__load32(r->p + 52);
	n->attr_len = 0;
	rn_copy_bytes(rn__attrs_of(n, size), r->p + rn__load32(r->p) - size, size);
	n->attr_count = rn__load16(r->p + 42);
}

// rn__add adds an attribute; a key must be added once only.
RN_SLOW void rn__add(rn_new *n, uint32_t kind, rn_text key, rn_text v) {
	uint8_t *h = rn__attrs_of(n, 8 + key.len + v.len);
	rn__store64(h, kind | (uint64_t)key.len << 16 | (uint64_t)v.len << 32);
	rn_copy_bytes(h + 8, key.at, key.len);
	rn_copy_bytes(h + 8 + key.len, v.at, v.len);
	n->attr_count++;
}

// Attributes of a new record; a key must be added once only.
RN_FAST void rn_add(rn_new *n, rn_text key, rn_text v) { rn__add(n, RN_STRING, key, v); }
RN_FAST void rn_add_json(rn_new *n, rn_text key, rn_text v) { rn__add(n, RN_JSON, key, v); }
RN_FAST void rn_add_int(rn_new *n, rn_text key, int64_t v) { rn__add(n, RN_INT, key, (rn_text){(const char *)&v, 8}); }
RN_FAST void rn_add_float(rn_new *n, rn_text key, double v) { rn__add(n, RN_FLOAT, key, (rn_text){(const char *)&v, 8}); }
RN_FAST void rn_add_bool(rn_new *n, rn_text key, bool v) { rn__add(n, RN_BOOL, key, (rn_text){(const char *)&v, 1}); }

// ---- State, metrics, tables (ABI §5.3 to §5.5)

// Values and rows are borrowed until the next call of one of these.

// rn__fetch calls the host with a buffer, and again with a larger one if need be.
#define RN__FETCH(call, result)                                                   \
	int32_t n;                                                                    \
	rn__scratch_of(256);                                                          \
	while ((n = call) > 0 && (uint32_t)n > rn__scratch_size) rn__scratch_of((uint32_t)n); \
	if (n < 0) return false;                                                      \
	*result = (rn_text){(const char *)rn__scratch, (uint32_t)n};                  \
	return true

RN_SLOW bool rn_state_get(rn_text key, rn_text *value) { RN__FETCH(rn_host_state_get(key.at, key.len, rn__scratch, rn__scratch_size), value); }

// rn_state_read reads a value of exactly n bytes into a variable; false if there is
// none of that size.
RN_FAST bool rn_state_read(rn_text key, void *to, uint32_t n) { return rn_host_state_get(key.at, key.len, to, n) == (int32_t)n; }

// rn_state_set and rn_state_delete return false where a bound forbids it, or if
// there is nothing to delete.
RN_FAST bool rn_state_set(rn_text key, rn_text value) { return rn_host_state_set(key.at, key.len, value.at, value.len) == 0; }
RN_FAST bool rn_state_delete(rn_text key) { return rn_host_state_delete(key.at, key.len) == 0; }

// rn_state_next gives the first key behind the given one, which may be the one it
// gave before; begin with "".
RN_SLOW bool rn_state_next(rn_text key, rn_text *next) {
	char name[256]; // the key may lie where the host writes the next one
	uint32_t len = key.len < sizeof name ? key.len : sizeof name;
	rn_copy_bytes(name, key.at, len);
	RN__FETCH(rn_host_state_next(name, len, rn__scratch, rn__scratch_size), next);
}

RN_SLOW bool rn__held(rn_text key, rn_text *batch) { RN__FETCH(rn_host_held(key.at, key.len, rn__scratch, rn__scratch_size), batch); }

// rn_held gives the records held under a key, to read, as they were before this call.
RN_FAST bool rn_held(rn_text key, rn_batch *b) {
	rn_text t;
	if (!rn__held(key, &t)) return false;
	*b = (rn_batch){(const uint8_t *)t.at + 16, rn__load32(t.at + 8)};
	return true;
}

// rn_metric adds to the counter runnel_guest_NAME.
RN_FAST void rn_metric(rn_text name, double n) { rn_host_metric_add(name.at, name.len, n); }

// rn_lookup finds a row of a table of the config, as a JSON object; rn_object reads it.
RN_SLOW bool rn_lookup(rn_text table, rn_text key, rn_text *row) { RN__FETCH(rn_host_lookup(table.at, table.len, key.at, key.len, rn__scratch, rn__scratch_size), row); }

// ---- Making texts

// A line is a text that is put together in a buffer; what does not fit is cut off.
typedef struct {
	char *at;
	uint32_t len, room;
} rn_line;

// RN_LINE begins a line in an array.
#define RN_LINE(array) ((rn_line){array, 0, sizeof(array)})

RN_SLOW void rn_put(rn_line *l, rn_text t) {
	uint32_t n = t.len < l->room - l->len ? t.len : l->room - l->len;
	rn_copy_bytes(l->at + l->len, t.at, n);
	l->len += n;
}

RN_SLOW void rn_put_int(rn_line *l, int64_t v) {
	char digits[20];
	uint32_t at = sizeof digits;
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
	do digits[--at] = (char)('0' + u % 10);
	while ((u /= 10) > 0);
	if (v < 0) digits[--at] = '-';
	rn_put(l, (rn_text){digits + at, sizeof digits - at});
}

RN_FAST rn_text rn_line_text(const rn_line *l) { return (rn_text){l->at, l->len}; }

// rn_parse_int reads a whole number, if the text is one and an int64_t holds it.
RN_SLOW bool rn_parse_int(rn_text t, int64_t *v) {
	uint32_t i = t.len > 0 && t.at[0] == '-';
	if (i == t.len) return false;
	uint64_t n = 0;
	for (uint32_t k = i; k < t.len; k++) {
		if (t.at[k] < '0' || t.at[k] > '9' || n > INT64_MAX / 10) return false;
		n = n * 10 + (uint64_t)(t.at[k] - '0');
	}
	if (n > (uint64_t)INT64_MAX + i) return false;
	*v = (int64_t)(i ? -n : n);
	return true;
}

// ---- Config, and JSON objects at large

// A config is a JSON object, read key by key with the type that the guest expects.
// A value of another type, and what rn_problem is told, refuses the module.
typedef struct rn_config {
	rn_text json;
	const struct rn_config *in; // the object this one is in, under that name
	rn_text name;
} rn_config;

static bool rn__refused;

RN_SLOW rn_text rn__c(const char *s) {
	uint32_t n = 0;
	while (s[n] != 0) n++;
	return (rn_text){s, n};
}

// rn_problem refuses the config with a message for whoever wrote it.
RN_SLOW void rn_problem(rn_text message) {
	rn__refused = true;
	rn_log(RN_LOG_ERROR, message);
}

RN_SLOW const char *rn__space(const char *p, const char *end) {
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
	return p;
}

// rn__skip gives the end of the JSON value that begins at p, or NULL (RFC 8259, to
// depth 32).
RN_SLOW const char *rn__skip(const char *p, const char *end, uint32_t depth) {
	if (p == end || depth > 32) return NULL;
	if (*p == '"') {
		for (p++; p < end; p++) {
			if (*p == '"') return p + 1;
			if (*p == '\\') p++;
		}
		return NULL;
	}
	if (*p == '{' || *p == '[') {
		char close = *p == '{' ? '}' : ']';
		p = rn__space(p + 1, end);
		if (p < end && *p == close) return p + 1;
		for (;;) {
			if (close == '}') {
				if (p == end || *p != '"' || (p = rn__skip(p, end, depth)) == NULL) return NULL;
				p = rn__space(p, end);
				if (p == end || *p != ':') return NULL;
				p = rn__space(p + 1, end);
			}
			if ((p = rn__skip(p, end, depth + 1)) == NULL) return NULL;
			p = rn__space(p, end);
			if (p == end) return NULL;
			if (*p == close) return p + 1;
			if (*p != ',') return NULL;
			p = rn__space(p + 1, end);
		}
	}
	const char *from = p;
	while (p < end && ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '+' || *p == '.' || *p == 'E')) p++;
	rn_text word = {from, (uint32_t)(p - from)};
	if (rn_is(word, "true") || rn_is(word, "false") || rn_is(word, "null")) return p;
	if (word.len > 1 && *from == '-') from++;
	return word.len > 0 && *from >= '0' && *from <= '9' ? p : NULL;
}

RN_SLOW int32_t rn__hex4(const char *p, const char *end) {
	int32_t v = 0;
	if (end - p < 4) return -1;
	for (uint32_t i = 0; i < 4; i++) {
		char c = p[i], low = (char)(c | 0x20);
		if (c >= '0' && c <= '9') v = v << 4 | (c - '0');
		else if (low >= 'a' && low <= 'f') v = v << 4 | (low - 'a' + 10);
		else return -1;
	}
	return v;
}

// rn__escaped writes what \u stands for, whose digits begin at *p, as UTF-8.
RN_SLOW char *rn__escaped(char *to, const char **p, const char *end) {
	int32_t r = rn__hex4(*p, end), low;
	if (r < 0) {
		r = 0xfffd;
	} else {
		*p += 4;
		if (r >= 0xd800 && r < 0xe000) {
			bool pair = r < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' &&
			            (low = rn__hex4(*p + 2, end)) >= 0xdc00 && low < 0xe000;
			if (pair) *p += 6;
			r = pair ? ((r - 0xd800) << 10) + (low - 0xdc00) + 0x10000 : 0xfffd;
		}
	}
	if (r < 0x80) {
		*to++ = (char)r;
		return to;
	}
	int32_t more = r < 0x800 ? 1 : r < 0x10000 ? 2 : 3;
	*to++ = (char)((0xf0 << (3 - more)) | r >> (6 * more));
	while (more-- > 0) *to++ = (char)(0x80 | (r >> (6 * more) & 0x3f));
	return to;
}

// rn__unquote gives what a quoted text means; a broken escape stands for itself.
RN_SLOW rn_text rn__unquote(rn_text raw) {
	const char *p = raw.at + 1, *end = raw.at + raw.len - 1;
	bool plain = true;
	for (const char *q = p; q < end; q++) plain = plain && *q != '\\';
	if (plain) return (rn_text){p, raw.len - 2};
	char *text = rn_alloc(raw.len), *to = text;
	while (p < end) {
		char c = *p++;
		if (c == '\\' && p < end) {
			c = *p++;
			if (c == 'u') {
				to = rn__escaped(to, &p, end);
				continue;
			}
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
		}
		*to++ = c;
	}
	return (rn_text){text, (uint32_t)(to - text)};
}

// A member of an object, or an element of a list, whose key is then "".
typedef struct {
	rn_text key;
	rn_text raw; // the value as JSON text
} rn_member;

// rn_member_next steps through an object or a list; begin with (rn_member){0}.
RN_SLOW bool rn_member_next(const rn_config *c, rn_member *m) {
	const char *end = c->json.at + c->json.len;
	const char *p = rn__space(m->raw.at == NULL ? c->json.at + 1 : m->raw.at + m->raw.len, end);
	if (c->json.len == 0 || p == end || *p == '}' || *p == ']') return false;
	if (*p == ',') p = rn__space(p + 1, end);
	m->key = RN__NO;
	if (*c->json.at == '{') {
		const char *after = rn__skip(p, end, 0);
		m->key = rn__unquote((rn_text){p, (uint32_t)(after - p)});
		p = rn__space(rn__space(after, end) + 1, end);
	}
	m->raw = (rn_text){p, (uint32_t)(rn__skip(p, end, 0) - p)};
	return true;
}

// rn_member_text gives the text a member holds; false if it is none.
RN_FAST bool rn_member_text(const rn_member *m, rn_text *text) {
	if (m->raw.at[0] != '"') return false;
	*text = rn__unquote(m->raw);
	return true;
}

// rn_object reads a JSON object that is not the config, such as a table's row.
RN_FAST rn_config rn_object(rn_text json) { return (rn_config){.json = json}; }

// rn_raw gives a value as JSON text, "" if the key is absent.
RN_SLOW rn_text rn_raw(const rn_config *c, const char *key) {
	rn_member m = {0};
	while (rn_member_next(c, &m))
		if (rn_equal(m.key, rn__c(key))) return m.raw;
	return RN__NO;
}

RN_FAST bool rn_has(const rn_config *c, const char *key) { return rn_raw(c, key).len > 0; }

RN_SLOW void rn__path(rn_line *l, const rn_config *c, rn_text key) {
	if (c->in != NULL) {
		rn__path(l, c->in, c->name);
		rn_put(l, RN("."));
	}
	rn_put(l, key);
}

// rn_wrong refuses a value that is not what it should be; a guest's own check may
// call it too.
RN_SLOW void rn_wrong(const rn_config *c, const char *key, const char *want) {
	char text[512];
	rn_line l = RN_LINE(text);
	rn_text raw = rn_raw(c, key);
	if (rn__ready) return; // it is a row, whose reader has its fallback
	rn__path(&l, c, rn__c(key));
	rn_put(&l, RN(" is "));
	rn_put(&l, raw.len > 40 ? (rn_text){raw.at, 40} : raw);
	rn_put(&l, raw.len > 40 ? RN("…, not ") : RN(", not "));
	rn_put(&l, rn__c(want));
	rn_problem(rn_line_text(&l));
}

// rn__known refuses every key that is not among n names.
RN_SLOW void rn__known(const rn_config *c, const char *const *names, uint32_t n) {
	rn_member m = {0};
	while (rn_member_next(c, &m)) {
		uint32_t i = 0;
		while (i < n && !rn_equal(m.key, rn__c(names[i]))) i++;
		if (i < n) continue;
		char text[512];
		rn_line l = RN_LINE(text);
		rn_put(&l, RN("unknown key \""));
		rn__path(&l, c, m.key);
		rn_put(&l, RN("\"; known are: "));
		for (i = 0; i < n; i++) {
			if (i > 0) rn_put(&l, RN(", "));
			rn_put(&l, rn__c(names[i]));
		}
		rn_problem(rn_line_text(&l));
	}
}

// rn_known refuses every key that is not among these: call it once with all the
// keys the guest reads, so that a misspelt one does not go unseen.
#define rn_known(c, ...) \
	rn__known(c, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

RN_SLOW bool rn_get_bool(const rn_config *c, const char *key, bool fallback) {
	rn_text raw = rn_raw(c, key);
	if (rn_is(raw, "true")) return true;
	if (rn_is(raw, "false")) return false;
	if (raw.len > 0) rn_wrong(c, key, "true or false");
	return fallback;
}

RN_SLOW rn_text rn_get_text(const rn_config *c, const char *key, rn_text fallback) {
	rn_text raw = rn_raw(c, key);
	if (raw.len > 0 && raw.at[0] == '"') return rn__unquote(raw);
	if (raw.len > 0) rn_wrong(c, key, "a text");
	return fallback;
}

RN_SLOW int64_t rn_get_int(const rn_config *c, const char *key, int64_t fallback) {
	rn_text raw = rn_raw(c, key);
	if (raw.len > 0 && !rn_parse_int(raw, &fallback)) rn_wrong(c, key, "a whole number");
	return fallback;
}

// rn_get_texts gives a list of texts and how many there are; none if the key is absent.
RN_SLOW uint32_t rn_get_texts(const rn_config *c, const char *key, rn_text **list) {
	rn_config items = rn_object(rn_raw(c, key));
	rn_member m = {0};
	uint32_t n = 0;
	if (items.json.len == 0) return 0;
	bool good = items.json.at[0] == '[';
	while (good && rn_member_next(&items, &m)) n++, good = m.raw.at[0] == '"';
	if (!good) {
		rn_wrong(c, key, "a list of texts");
		return 0;
	}
	*list = rn_alloc(n * sizeof(rn_text));
	m = (rn_member){0};
	for (uint32_t i = 0; rn_member_next(&items, &m); i++) (*list)[i] = rn__unquote(m.raw);
	return n;
}

// rn_get_object gives an object within this one; empty if the key is absent.
RN_SLOW rn_config rn_get_object(const rn_config *c, const char *key) {
	rn_text raw = rn_raw(c, key);
	if (raw.len > 0 && raw.at[0] != '{') {
		rn_wrong(c, key, "an object");
		raw = RN__NO;
	}
	return (rn_config){raw, c, rn__c(key)};
}

// ---- The guest's exports (ABI §2)

static uint8_t *rn__input;
static uint32_t rn__input_size;

// rn__buffer gives the host a buffer: first for the config, which stays, and then
// for batches.
RN_SLOW uint8_t *rn__buffer(uint32_t size) {
	if (!rn__ready) return rn_alloc(size);
	if (size > rn__input_size) {
		rn__input = rn__larger(rn__input, 0, rn__input_size, size);
		rn__input_size = rn__given;
	}
	return rn__input;
}

RN_SLOW uint32_t rn__init(const char *at, uint32_t len, void (*configure)(const rn_config *)) {
	const char *end = at + len, *from = rn__space(at, end);
	rn_config c = {.json = {from, (uint32_t)(end - from)}};
	rn__refused = false;
	if (rn_equal(c.json, RN__NO) || rn_is(c.json, "null")) {
		c.json = RN("{}");
	} else {
		const char *after = rn__skip(from, end, 0);
		if (*from != '{' || after == NULL || rn__space(after, end) != end) {
			rn_problem(RN("it is not a JSON object"));
			c.json = RN("{}");
		}
	}
	if (!rn__refused) configure(&c);
	rn__mark = rn__free;
	rn__mark_left = rn__left;
	rn__ready = true;
	return rn__refused;
}

RN_FAST void rn__call(void) {
	rn__free = rn__mark;
	rn__left = rn__mark_left;
	rn__len = 0;
	rn__append(8);
	rn__tail = rn__len;
	rn__count = rn__merge = rn__kind = 0;
}

// rn__settle ends what was said of the record at hand.
RN_FAST void rn__settle(void) {
	if (rn__making) rn__written();
	if (rn__kind != 0) {
		rn__store32(rn__out + rn__open, rn__tail - rn__open);
		rn__count++;
		rn__kind = 0;
	}
	rn__tail = rn__len;
}

// rn__result is the output's address and length, or 0 if there is nothing in it.
RN_FAST uint64_t rn__result(void) {
	if (rn__count == 0) return 0;
	rn__store64(rn__out, 1 | (uint64_t)rn__count << 32);
#ifdef __wasm__
	return (uint64_t)(size_t)rn__out << 32 | rn__len;
#else
	return rn__len; // the test finds it at rn__out
#endif
}

// RUNNEL_GUEST makes the guest of two functions: void configure(const rn_config *)
// reads the config, once; void handle(const rn_record *) is called for each record.
#define RUNNEL_GUEST(configure, handle)                                                    \
	RN_EXPORT("runnel_abi_v1") void runnel_abi_v1(void);                                   \
	RN_EXPORT("runnel_alloc") void *runnel_alloc(uint32_t size);                           \
	RN_EXPORT("runnel_init") uint32_t runnel_init(const char *config, uint32_t len);       \
	RN_EXPORT("runnel_process") uint64_t runnel_process(const uint8_t *batch, uint32_t n); \
	void runnel_abi_v1(void) {}                                                            \
	void *runnel_alloc(uint32_t size) { return rn__buffer(size); }                         \
	uint32_t runnel_init(const char *config, uint32_t len) { return rn__init(config, len, configure); } \
	uint64_t runnel_process(const uint8_t *batch, uint32_t len) {                          \
		(void)len;                                                                         \
		rn__call();                                                                        \
		uint32_t count = rn__load32(batch + 8);                                            \
		rn_record r = {batch + 16, 0};                                                     \
		for (; r.index < count; r.index++) {                                               \
			rn__index = r.index;                                                           \
			handle(&r);                                                                    \
			rn__settle();                                                                  \
			r.p += rn__load32(r.p);                                                        \
		}                                                                                  \
		return rn__result();                                                               \
	}

// RUNNEL_TICK calls void tick(int64_t now) between batches, once a second at most;
// RUNNEL_FLUSH calls void flush(void) when the module leaves its pipeline. Both may
// emit, release, merge and discard (ABI §2.3).
#define RUNNEL_TICK(tick)                                                    \
	RN_EXPORT("runnel_tick") uint64_t runnel_tick(int64_t now);              \
	uint64_t runnel_tick(int64_t now) {                                      \
		rn__call();                                                          \
		rn__index = (uint32_t)RN__NONE;                                      \
		tick(now);                                                           \
		rn__settle();                                                        \
		return rn__result();                                                 \
	}
#define RUNNEL_FLUSH(flush)                                                  \
	RN_EXPORT("runnel_flush") uint64_t runnel_flush(void);                   \
	uint64_t runnel_flush(void) {                                            \
		rn__call();                                                          \
		rn__index = (uint32_t)RN__NONE;                                      \
		flush();                                                             \
		rn__settle();                                                        \
		return rn__result();                                                 \
	}

#endif
