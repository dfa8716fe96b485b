// Tidy does what most pipelines need first: it drops debug records, adds and
// renames attributes, and sends errors to a stream of their own.
#include "../../../guest-sdk/c/runnel.h"

static bool drop_debug;
static rn_text change, error_change; // what is done to a record, and to an error

// value encodes a member's value as an attribute's (ABI §3.4); false if it is
// no text, whole number, true or false.
static bool value(const rn_member *m, rn_attr *a) {
	a->key = m->key;
	if (rn_member_text(m, &a->data)) {
		a->kind = RN_STRING;
		return true;
	}
	if (rn_is(m->raw, "true") || rn_is(m->raw, "false")) {
		a->kind = RN_BOOL;
		a->data = rn_is(m->raw, "true") ? RN("\1") : RN("\0");
		return true;
	}
	int64_t *n = rn_alloc(sizeof *n);
	a->kind = RN_INT;
	a->data = (rn_text){(char *)n, sizeof *n};
	return rn_parse_int(m->raw, n);
}

static void configure(const rn_config *c) {
	rn_known(c, "drop_debug", "add", "rename", "errors_stream");
	drop_debug = rn_get_bool(c, "drop_debug", false);

	rn_config rename = rn_get_object(c, "rename"), add = rn_get_object(c, "add");
	for (rn_member m = {0}; rn_member_next(&rename, &m);) {
		rn_text to;
		if (rn_member_text(&m, &to)) rn_prepare_rename(&change, m.key, to);
		else rn_wrong(c, "rename", "an object of texts");
	}
	for (rn_member m = {0}; rn_member_next(&add, &m);) {
		rn_attr a;
		if (value(&m, &a)) rn_prepare(&change, a);
		else rn_wrong(c, "add", "an object of texts, whole numbers, true and false");
	}
	error_change = change;
	rn_text errors = rn_get_text(c, "errors_stream", RN(""));
	if (errors.len > 0) rn_prepare_route(&error_change, errors);
}

static void handle(const rn_record *r) {
	uint8_t severity = rn_severity(r);
	if (drop_debug && severity == RN_DEBUG) rn_drop(r, RN("debug"));
	else rn_apply(r, severity <= RN_ERR ? error_change : change);
}

RUNNEL_GUEST(configure, handle)
