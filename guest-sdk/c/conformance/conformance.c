// Conformance is a guest that does what each record's message says, one
// operation a line, so that a test of the host can ask for every verdict of
// ABI v1. wasm/conformance_test.go says what must come of it; the guests of the
// other SDKs do the same. It wants grant: [state, metrics] and a table.
#include <unistd.h>

#include "../runnel.h"

static void configure(const rn_config *c) {
	rn_text text = rn_get_text(c, "refuse", RN(""));
	if (text.len > 0) rn_problem(text);
	if (rn_get_bool(c, "panic", false)) __builtin_trap();
}

// cut takes from *rest what stands before the first c.
static rn_text cut(rn_text *rest, char c) {
	rn_text before = *rest;
	for (uint32_t i = 0; i < rest->len; i++) {
		if (rest->at[i] != c) continue;
		before.len = i;
		*rest = (rn_text){rest->at + i + 1, rest->len - i - 1};
		return before;
	}
	*rest = (rn_text){"", 0};
	return before;
}

// decimal reads a number such as 1.5, -2, inf or nan.
static double decimal(rn_text t) {
	uint32_t i = t.len > 0 && t.at[0] == '-';
	double v = 0, unit = 0;
	for (uint32_t k = i; k < t.len; k++) {
		char c = t.at[k];
		if ((c | 0x20) == 'i') return i ? -__builtin_inf() : __builtin_inf();
		if ((c | 0x20) == 'n') return __builtin_nan("");
		if (c == '.') {
			unit = 1;
		} else if (c >= '0' && c <= '9') {
			v = v * 10 + (c - '0');
			unit *= 10;
		}
	}
	if (unit > 0) v /= unit;
	return i ? -v : v;
}

// deep ends when the host says so.
static __attribute__((noinline)) unsigned deep(unsigned n) {
	if (n == ~0u) return 0;
	unsigned v = deep(n + 1);
	__asm__ volatile("" : "+r"(v)); // or the compiler makes a loop of it
	return v + 1;
}

// misbehave does what a guest must not, to see that the host lives.
static void misbehave(rn_text verb) {
	if (rn_is(verb, "panic")) __builtin_trap();
	if (rn_is(verb, "index")) *(volatile char *)(size_t)0xfffffff0;
	if (rn_is(verb, "loop"))
		for (;;) __asm__ volatile("");
	if (rn_is(verb, "memory"))
		for (;;) rn_alloc(1 << 20);
	if (rn_is(verb, "recurse")) deep(0);
	if (rn_is(verb, "block")) // there is nothing to wait for but the clock, which stands still
		for (int64_t now = rn_now(); rn_now() == now;) {}
}

// change does what a verb says of the record's attributes and fields.
static bool change(const rn_record *r, rn_text verb, rn_text argument) {
	rn_text value = argument, key = cut(&value, ' ');
	if (rn_is(verb, "set")) rn_set(r, key, value);
	else if (rn_is(verb, "copy")) rn_set(r, value, rn_text_of(rn_attr_of(r, key)));
	else if (rn_is(verb, "int")) rn_set_int(r, key, -(int64_t)value.len);
	else if (rn_is(verb, "float")) rn_set_float(r, key, value.len + 0.5);
	else if (rn_is(verb, "bool")) rn_set_bool(r, key, rn_is(value, "true"));
	else if (rn_is(verb, "json")) rn_set_json(r, key, value);
	else if (rn_is(verb, "remove")) rn_remove(r, argument);
	else if (rn_is(verb, "message")) rn_set_message(r, argument);
	else if (rn_is(verb, "severity")) rn_set_severity(r, (uint8_t)(argument.at[0] - '0'));
	else if (rn_is(verb, "facility")) rn_set_facility(r, (uint8_t)(argument.at[0] - '0'));
	else if (rn_is(verb, "time")) rn_set_time(r, rn_now());
	else if (rn_is(verb, "host")) rn_set_host(r, argument);
	else if (rn_is(verb, "app")) rn_set_app(r, argument);
	else if (rn_is(verb, "procid")) rn_set_procid(r, argument);
	else if (rn_is(verb, "msgid")) rn_set_msgid(r, argument);
	else if (rn_is(verb, "sd")) rn_set_sd(r, argument);
	else return false;
	return true;
}

// decide does what a verb says of the record's fate, and makes others.
static bool decide(const rn_record *r, rn_text verb, rn_text argument) {
	rn_text value = argument, key = cut(&value, ' ');
	if (rn_is(verb, "keep")) return true;
	if (rn_is(verb, "drop")) rn_drop(r, argument);
	else if (rn_is(verb, "fail")) rn_fail(r, argument);
	else if (rn_is(verb, "route")) rn_route(r, argument);
	else if (rn_is(verb, "replace")) {
		rn_new *n = rn_replace(r);
		n->host = RN("new");
		n->message = argument;
		rn_add_int(n, RN("n"), 1);
	} else if (rn_is(verb, "emit")) {
		rn_new *n = rn_emit();
		rn_copy(n, r);
		n->message = argument;
		rn_add(n, RN("child"), RN("yes"));
	} else if (rn_is(verb, "emit-to")) {
		rn_new *n = rn_emit();
		n->severity = RN_ERR;
		n->stream = key;
		n->message = value;
	} else if (rn_is(verb, "flood")) {
		for (int i = 0; i < 65; i++) rn_emit()->message = RN("x");
	} else if (rn_is(verb, "log")) {
		rn_log(RN_LOG_WARN, argument);
	} else if (rn_is(verb, "print")) {
		if (write(1, argument.at, argument.len) < 0 || write(1, "\n", 1) < 0) __builtin_trap();
	} else return false;
	return true;
}

static void count(const rn_record *r, rn_text key) {
	char digits[20];
	rn_line l = RN_LINE(digits);
	rn_text value;
	int64_t n = 0;
	if (rn_state_get(key, &value)) rn_parse_int(value, &n);
	rn_put_int(&l, n + 1);
	rn_state_set(key, rn_line_text(&l));
	rn_set_int(r, key, n + 1);
}

static void keys(const rn_record *r) {
	static char names[65536];
	rn_line l = RN_LINE(names);
	for (rn_text key = RN(""); rn_state_next(key, &key);) {
		if (l.len > 0) rn_put(&l, RN(","));
		rn_put(&l, key);
	}
	rn_set(r, RN("keys"), rn_line_text(&l));
}

// remember does what a verb says of state, held records and the host's services.
static bool remember(const rn_record *r, rn_text verb, rn_text argument) {
	rn_text value = argument, key = cut(&value, ' ');
	if (rn_is(verb, "hold")) rn_hold(r, key);
	else if (rn_is(verb, "release")) rn_release(key);
	else if (rn_is(verb, "merge")) {
		const rn_record *m = rn_merge(key);
		rn_join(m, value.len > 0 ? value : RN("\n"));
		rn_set_bool(m, RN("merged"), true);
	} else if (rn_is(verb, "discard")) rn_discard(key, value);
	else if (rn_is(verb, "put")) rn_state_set(key, value);
	else if (rn_is(verb, "get")) rn_set(r, key, rn_state_get(key, &value) ? value : RN("none"));
	else if (rn_is(verb, "forget")) rn_state_delete(key);
	else if (rn_is(verb, "count")) count(r, key);
	else if (rn_is(verb, "keys")) keys(r);
	else if (rn_is(verb, "heldcount")) {
		rn_batch held = {0};
		rn_held(key, &held);
		rn_set_int(r, RN("held"), held.left);
	} else if (rn_is(verb, "metric")) rn_metric(key, decimal(value));
	else if (rn_is(verb, "lookup")) {
		rn_text row;
		if (rn_lookup(key, value, &row)) rn_set_json(r, RN("row"), row);
		else rn_set(r, RN("row"), RN("none"));
	} else if (rn_is(verb, "find")) rn_set_int(r, RN("at"), rn_find(rn_message(r), argument));
	else return false;
	return true;
}

static void handle(const rn_record *r) {
	rn_text rest = rn_message(r);
	while (rest.len > 0) {
		rn_text argument = cut(&rest, '\n'), verb = cut(&argument, ' ');
		if (!change(r, verb, argument) && !decide(r, verb, argument) && !remember(r, verb, argument)) misbehave(verb);
	}
}

static void tick(int64_t now) {
	rn_new *n = rn_emit();
	n->message = RN("tick");
	rn_add_int(n, RN("now"), now);
	rn_release(RN("tick"));
}

static void flush(void) { rn_emit()->message = RN("flush"); }

RUNNEL_GUEST(configure, handle)
RUNNEL_TICK(tick)
RUNNEL_FLUSH(flush)
