// throttle.h holds the config, and what a key is made of.
#ifndef THROTTLE_H
#define THROTTLE_H

#include "../../../guest-sdk/c/runnel.h"

// count is the state of a key: what was seen in its window.
typedef struct {
	int64_t start; // of the window
	uint32_t seen, kept, dropped, unused;
} count;

// A key of state is the values that make it, each behind a byte 0x1f. The number of
// those keys is under KEYS, and what found no room among them under OTHERS.
#define KEYS RN("#keys")
#define OTHERS RN("\x1f(others)")

enum { MAX_FIELDS = 4, MAX_VALUE = 61 }; // together below the 255 bytes of a key

// field is a field of a record, or an attribute.
typedef struct {
	rn_text name;
	rn_text (*get)(const rn_record *); // NULL: the attribute of that name
} field;

static field fields[MAX_FIELDS], sample_by;
static rn_text *except; // inputs whose records go through
static uint32_t field_count, limit, max_keys, one_in, except_count;
static int64_t window, now;
static bool sampled_by_value;

static rn_text host(const rn_record *r) { return rn_host(r); }
static rn_text app(const rn_record *r) { return rn_app(r); }
static rn_text procid(const rn_record *r) { return rn_procid(r); }
static rn_text msgid(const rn_record *r) { return rn_msgid(r); }
static rn_text input(const rn_record *r) { return rn_input(r); }
static rn_text peer(const rn_record *r) { return rn_peer(r); }
static rn_text message(const rn_record *r) { return rn_message(r); }

// field_of finds the field of a name; false if there is none.
static bool field_of(rn_text name, field *f) {
	static const struct {
		const char *name;
		rn_text (*get)(const rn_record *);
	} known[] = {{"host", host}, {"app", app}, {"procid", procid}, {"msgid", msgid}, {"input", input}, {"peer", peer}, {"message", message}};
	for (uint32_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (!rn_equal(name, rn__c(known[i].name))) continue;
		*f = (field){name, known[i].get};
		return true;
	}
	if (name.len <= 6 || !rn_equal((rn_text){name.at, 6}, RN("attrs."))) return false;
	*f = (field){{name.at + 6, name.len - 6}, NULL};
	return true;
}

static void read_key(const rn_config *c) {
	rn_text *names;
	uint32_t n = rn_get_texts(c, "key", &names);
	if (n > MAX_FIELDS || (n == 0 && rn_has(c, "key"))) {
		rn_wrong(c, "key", "a list of one to four fields");
		return;
	}
	field_count = n;
	for (uint32_t i = 0; i < n; i++)
		if (!field_of(names[i], &fields[i])) rn_wrong(c, "key", "a list of host, app, procid, msgid, input, peer, message and attrs.NAME");
	if (n == 0) field_of(RN("app"), &fields[field_count++]);
}

// number reads a number within bounds.
static uint32_t number(const rn_config *c, const char *key, uint32_t fallback, int64_t least, int64_t most) {
	int64_t n = rn_get_int(c, key, fallback);
	if (n >= least && n <= most) return (uint32_t)n;
	char text[64];
	rn_line want = RN_LINE(text);
	rn_put(&want, RN("from "));
	rn_put_int(&want, least);
	rn_put(&want, RN(" to "));
	rn_put_int(&want, most);
	rn_put(&want, RN("\0"));
	rn_wrong(c, key, text);
	return fallback;
}

// hash is FNV-1a with the mixing at the end of MurmurHash3, so that its lowest bits
// are as good as the others.
static uint32_t hash(rn_text t) {
	uint32_t h = 2166136261u;
	for (uint32_t i = 0; i < t.len; i++) h = (h ^ (uint8_t)t.at[i]) * 16777619u;
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

// value_of gives the field's value as a text; numbers are written to digits.
static rn_text value_of(const field *f, const rn_record *r, char digits[20]) {
	if (f->get != NULL) return f->get(r);
	rn_attr a = rn_attr_of(r, f->name);
	rn_line line = {digits, 0, 20};
	if (a.kind == RN_BOOL) return rn_bool_of(a) ? RN("true") : RN("false");
	if (a.kind != RN_INT && a.kind != RN_FLOAT) return rn_text_of(a);
	rn_put_int(&line, a.kind == RN_INT ? rn_int_of(a) : (int64_t)rn_float_of(a));
	return rn_line_text(&line);
}

// put_key writes the key of a record. Of a long value the end is hashed.
static void put_key(rn_line *to, const rn_record *r) {
	char digits[20];
	for (uint32_t i = 0; i < field_count; i++) {
		rn_text v = value_of(&fields[i], r, digits);
		rn_put(to, RN("\x1f"));
		if (v.len <= MAX_VALUE) {
			rn_put(to, v);
			continue;
		}
		rn_put(to, (rn_text){v.at, MAX_VALUE - 11});
		rn_put(to, RN("~"));
		rn_put_int(to, hash(v));
	}
}

// put_name writes a key as one reads it: app=shop host=vm.
static void put_name(rn_line *to, rn_text key) {
	if (rn_equal(key, OTHERS)) {
		rn_put(to, RN("other keys"));
		return;
	}
	uint32_t at = 1;
	for (uint32_t i = 0; i < field_count; i++) {
		uint32_t end = at;
		while (end < key.len && key.at[end] != '\x1f') end++;
		if (i > 0) rn_put(to, RN(" "));
		rn_put(to, fields[i].name);
		rn_put(to, RN("="));
		rn_put(to, (rn_text){key.at + at, end - at});
		at = end + 1;
	}
}

// excepted reports whether the record's input is one whose records go through.
static bool excepted(const rn_record *r) {
	for (uint32_t i = 0; i < except_count; i++)
		if (rn_equal(rn_input(r), except[i])) return true;
	return false;
}

// in_sample reports whether the value that the sample goes by is among the one in so
// many. A record without it is.
static bool in_sample(const rn_record *r) {
	char digits[20];
	rn_text v = value_of(&sample_by, r, digits);
	return v.len == 0 || hash(v) % one_in == 0;
}

#endif
