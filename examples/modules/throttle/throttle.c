// Throttle lets so many records of a key through in a window of time, and one in so
// many of a sample. What it has counted is state: a restart changes nothing. When a
// window ends in which records were dropped, a record says how many.
#include "throttle.h"

static void configure(const rn_config *c) {
	rn_known(c, "key", "limit", "window", "max_keys", "except", "sample");
	read_key(c);
	limit = number(c, "limit", 100, 0, UINT32_MAX);
	window = (int64_t)number(c, "window", 60, 1, 86400) * 1000000000;
	max_keys = number(c, "max_keys", 1000, 1, 10000);

	except_count = rn_get_texts(c, "except", &except);

	rn_config sample = rn_get_object(c, "sample");
	rn_known(&sample, "one_in", "by");
	one_in = number(&sample, "one_in", 1, 1, UINT32_MAX);
	rn_text by = rn_get_text(&sample, "by", RN(""));
	sampled_by_value = by.len > 0;
	if (sampled_by_value && !field_of(by, &sample_by)) rn_wrong(&sample, "by", "a field or attrs.NAME");
}

// count_of is what state holds of a key. Its window has ended, or never begun, if
// it is not there.
static bool count_of(rn_text key, count *k) { return rn_state_read(key, k, sizeof *k); }

// known_keys is how many keys have a window.
static uint32_t known_keys(void) {
	uint32_t n = 0;
	rn_state_read(KEYS, &n, sizeof n);
	return n;
}

static void set_known_keys(uint32_t n) { rn_state_set(KEYS, (rn_text){(char *)&n, sizeof n}); }

// suppressed emits the record that says what a window dropped.
static void suppressed(rn_text key, const count *k) {
	static char text[512]; // borrowed by the record until the call returns
	rn_line message = RN_LINE(text);
	rn_put(&message, RN("suppressed "));
	rn_put_int(&message, k->dropped);
	rn_put(&message, RN(" records of "));
	uint32_t name = message.len;
	put_name(&message, key);
	char *copy = rn_alloc(message.len); // there may be more than one in a tick
	rn_copy_bytes(copy, text, message.len);

	rn_new *n = rn_emit();
	n->severity = RN_NOTICE;
	n->time = k->start + window;
	n->app = RN("throttle");
	n->message = (rn_text){copy, message.len};
	rn_add(n, RN("key"), (rn_text){copy + name, message.len - name});
	rn_add_int(n, RN("suppressed"), k->dropped);
	rn_add_int(n, RN("window"), window / 1000000000);
}

// begin begins a window, unless there are as many keys already as there may be:
// then those that have none share one.
static bool begin(rn_text *key, count *k) {
	*k = (count){.start = now};
	uint32_t n = known_keys();
	if (n < max_keys) {
		set_known_keys(n + 1);
		return true;
	}
	*key = OTHERS;
	if (!count_of(OTHERS, k)) *k = (count){.start = now};
	return false;
}

static void handle(const rn_record *r) {
	if (r->index == 0) now = rn_now();
	if (excepted(r)) return;
	if (sampled_by_value && !in_sample(r)) {
		rn_drop(r, RN("sampled"));
		return;
	}
	if (limit == 0 && (one_in == 1 || sampled_by_value)) return;

	char room[256];
	rn_line line = {room, 0, 255};
	put_key(&line, r);
	rn_text key = rn_line_text(&line);
	count k;
	if (!count_of(key, &k)) begin(&key, &k);
	if (now - k.start >= window || now < k.start) { // a tick is late, or the clock went back
		if (k.dropped > 0) suppressed(key, &k);
		k = (count){.start = now};
	}
	if (!sampled_by_value && k.seen++ % one_in != 0) {
		rn_drop(r, RN("sampled"));
	} else if (limit > 0 && k.kept >= limit) {
		k.dropped++;
		rn_drop(r, RN("throttled"));
	} else {
		k.kept++;
	}
	rn_state_set(key, (rn_text){(char *)&k, sizeof k});
}

// end ends the windows that are over, or all; at most `most` of them say what they
// dropped, and the others wait.
static void end(int64_t at, bool all, uint32_t most) {
	uint32_t known = known_keys(), left = known;
	rn_text next;
	char room[256];
	rn_line key = {room, 0, sizeof room};
	while (rn_state_next(rn_line_text(&key), &next)) {
		key.len = 0;
		rn_put(&key, next);
		count k;
		if (key.at[0] == '#' || !count_of(rn_line_text(&key), &k)) continue;
		if (!all && at - k.start < window && at >= k.start) continue;
		if (k.dropped > 0) {
			if (most == 0) continue;
			most--;
			suppressed(rn_line_text(&key), &k);
		}
		rn_state_delete(rn_line_text(&key));
		if (!rn_equal(rn_line_text(&key), OTHERS)) left--;
	}
	if (left != known) set_known_keys(left);
}

// A tick or flush may emit 4096 records (ABI §4.7).
static void tick(int64_t at) { end(at, false, 4096); }
static void flush(void) { end(0, true, 4096); }

RUNNEL_GUEST(configure, handle)
RUNNEL_TICK(tick)
RUNNEL_FLUSH(flush)
