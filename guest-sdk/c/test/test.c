// The SDK's tests, run on this machine: test FILE… reads each file as a batch.
#include "host.h"

#include "../runnel.h"

static int failures;

#define CHECK(condition, ...)                                 \
	do {                                                      \
		if (!(condition)) {                                   \
			printf("%s:%d: ", __FILE__, __LINE__);            \
			printf(__VA_ARGS__);                              \
			printf("\n");                                     \
			failures++;                                       \
		}                                                     \
	} while (0)

static void (*at_hand)(const rn_record *); // what the guest does in this test
static void (*at_start)(const rn_config *);

static void handle(const rn_record *r) { at_hand(r); }
static void configure(const rn_config *c) {
	if (at_start != NULL) at_start(c);
}
static void tick(int64_t now) {
	rn_new *n = rn_emit();
	rn_add_int(n, RN("now"), now);
	rn_release(RN("t"));
	rn_discard(RN("u"), RN("old"));
}
static void flush(void) {}

RUNNEL_GUEST(configure, handle)
RUNNEL_TICK(tick)
RUNNEL_FLUSH(flush)

// ---- Every vector is read by the SDK and written anew; the bytes are the same.

static uint8_t *written;
static uint32_t written_len;
static char path[4096];

static void write_bytes(const void *p, uint32_t n) {
	written = realloc(written, written_len + n + 1);
	if (n > 0) memcpy(written + written_len, p, n);
	written_len += n;
}

static void rewrite(const rn_record *r) {
	rn_text texts[] = {rn_host(r), rn_app(r), rn_procid(r), rn_msgid(r), rn_stream(r), rn_input(r), rn_peer(r), rn_agent(r)};
	rn_text sd = rn_sd(r), message = rn_message(r);
	uint8_t h[56] = {0};
	h[4] = rn_severity(r), h[5] = rn_facility(r);
	uint16_t flags = rn_flags(r);
	int64_t times[] = {rn_time(r), rn_received(r)};
	memcpy(h + 6, &flags, 2);
	memcpy(h + 8, times, 16);
	uint16_t attrs = 0, origin_len;
	uint32_t begin = written_len, attr_len = 0;
	const char *origin = texts[7].at + texts[7].len; // guests have no use for it
	origin_len = (uint16_t)(sd.at - origin);
	for (int i = 0; i < 8; i++) memcpy(h + 24 + 2 * i, &(uint16_t){(uint16_t)texts[i].len}, 2);
	memcpy(h + 40, &origin_len, 2);
	memcpy(h + 44, &sd.len, 4);
	memcpy(h + 48, &message.len, 4);
	write_bytes(h, 56);
	for (int i = 0; i < 8; i++) write_bytes(texts[i].at, texts[i].len);
	write_bytes(origin, origin_len);
	write_bytes(sd.at, sd.len);
	write_bytes(message.at, message.len);
	for (rn_attr a = {0}; rn_attr_next(r, &a); attrs++) {
		uint8_t head[8] = {(uint8_t)a.kind, 0, (uint8_t)a.key.len, (uint8_t)(a.key.len >> 8)};
		memcpy(head + 4, &a.data.len, 4);
		write_bytes(head, 8);
		write_bytes(a.key.at, a.key.len);
		write_bytes(a.data.at, a.data.len);
		attr_len += 8 + a.key.len + a.data.len;
		CHECK(rn_attr_of(r, a.key).data.at == a.data.at, "%s: attribute %.*s is not found", path, (int)a.key.len, a.key.at);
	}
	uint32_t size = written_len - begin;
	memcpy(written + begin, &size, 4);
	memcpy(written + begin + 42, &attrs, 2);
	memcpy(written + begin + 52, &attr_len, 4);
}

static uint8_t *read_file(const char *name, uint32_t *n) {
	FILE *f = fopen(name, "rb");
	CHECK(f != NULL, "cannot open %s", name);
	if (f == NULL) exit(1);
	fseek(f, 0, SEEK_END);
	*n = (uint32_t)ftell(f);
	rewind(f);
	uint8_t *p = malloc(*n);
	CHECK(fread(p, 1, *n, f) == *n, "cannot read %s", name);
	fclose(f);
	return p;
}

static void copies(const rn_record *r) { rn_copy(rn_emit(), r); }

// check_copies compares an emitted copy with the record: it has all but what the
// host alone says.
static void check_copies(const uint8_t *batch) {
	const uint8_t *p = batch + 16, *v = rn__out + 8;
	for (uint32_t i = rn__load32(batch + 8); i > 0; i--, p += rn__load32(p), v += rn__load32(v)) {
		rn_record a = {p, 0}, b = {v + 12, 0};
		CHECK(v[8] == RN__EMIT && rn__load32(v) == 12 + rn__load32(v + 12), "%s: not an EMIT of the record's size", path);
		CHECK(rn_equal(rn_msgid(&a), rn_msgid(&b)) && rn_equal(rn_sd(&a), rn_sd(&b)) && rn_equal(rn_message(&a), rn_message(&b)) &&
		          rn_equal(rn_stream(&a), rn_stream(&b)) && rn_time(&a) == rn_time(&b) && rn_input(&b).len == 0,
		      "%s: a copy differs", path);
		uint32_t n = rn__load32(p + 52);
		CHECK(n == rn__load32(b.p + 52) && memcmp(p + rn__load32(p) - n, b.p + rn__load32(b.p) - n, n) == 0, "%s: a copy's attributes differ", path);
	}
}

static void test_vector(const char *name) {
	uint32_t n;
	uint8_t *batch = read_file(name, &n);
	snprintf(path, sizeof path, "%s", name);
	at_hand = rewrite;
	written_len = 0;
	CHECK(runnel_process(batch, n) == 0, "%s: reading alone gave an output", name);
	CHECK(written_len == n - 16 && memcmp(written, batch + 16, n - 16) == 0, "%s: what was read is not what is there", name);
	at_hand = copies;
	runnel_process(batch, n);
	CHECK(rn__count == rn__load32(batch + 8), "%s: %u copies", name, rn__count);
	check_copies(batch);
	free(batch);
}

// ---- Verdicts, as "index kind payload" with what cannot be printed as dots.

static uint8_t three[16 + 3 * 58]; // a batch of three records: messages "a0", "b1", "c2"

static void make_three(void) {
	memcpy(three, "rb\1\0", 4);
	rn__store32(three + 4, sizeof three);
	rn__store32(three + 8, 3);
	for (uint32_t i = 0; i < 3; i++) {
		uint8_t *h = three + 16 + i * 58;
		rn__store32(h, 58);
		rn__store32(h + 48, 2);
		h[4] = 6;
		h[56] = (uint8_t)('a' + i), h[57] = (uint8_t)('0' + i);
	}
}

static void describe(uint32_t len, char *to) {
	const uint8_t *p = rn__out + 8, *end = rn__out + len;
	uint32_t count = 0;
	*to = 0;
	for (; len > 0 && p < end; p += rn__load32(p), count++) {
		to += sprintf(to, "%d %d ", (int32_t)rn__load32(p + 4), p[8]);
		for (const uint8_t *q = p + 12; q < p + rn__load32(p); q++) {
			if (p[8] == RN__EMIT || p[8] == RN__REPLACE) q += q == p + 12 ? 56 : 0;
			if (q < p + rn__load32(p)) *to++ = *q >= 32 && *q < 127 ? (char)*q : '.';
		}
		to += sprintf(to, "|");
	}
	CHECK(len == 0 || count == rn__load32(rn__out + 4), "%u verdicts, the header says %u", count, rn__load32(rn__out + 4));
}

static int at_line;

static void expect(int line, const char *want) {
	char got[4096];
	at_line = line;
	describe((uint32_t)runnel_process(three, sizeof three), got);
	CHECK(strcmp(got, want) == 0, "case of line %d:\n got  %s\n want %s", line, got, want);
}

// CASE runs statements for the record b1.
#define CASE(name, body, want)                          \
	static void name(const rn_record *r) {              \
		if (r->index == 1) { body }                     \
	}                                                   \
	static void run_##name(void) { at_hand = name; expect(__LINE__, want); }

CASE(nothing, (void)r;, "")
CASE(drop, rn_drop(r, RN("why"));, "1 1 why|")
CASE(fail, rn_fail(r, RN("bad"));, "1 7 bad|")
CASE(hold, rn_hold(r, RN("key"));, "1 6 key|")
CASE(set, rn_set(r, RN("k"), RN("vw"));, "1 2 ........kvw|")
CASE(set_word, rn_set_int(r, RN("k"), 0x4142434445464748);, "1 2 ........kHGFEDCBA|")
CASE(route, rn_set(r, RN("k"), RN("v")); rn_route(r, RN("s"));, "1 2 ........kv........s|")
CASE(set_then_drop, rn_set(r, RN("k"), RN("v")); rn_drop(r, RN("x")); rn_set(r, RN("l"), RN("w"));, "1 1 x|")
CASE(drop_twice, rn_drop(r, RN("x")); rn_set_message(r, RN("y")); rn_drop(r, RN("z"));, "1 1 z|")
CASE(emit, rn_emit()->message = RN("new"); rn_set(r, RN("k"), RN("v"));, "1 2 ........kv|1 5 new|")
CASE(emit_drop, rn_emit()->message = RN("n1"); rn_emit()->message = RN("n2"); rn_drop(r, RN("x"));, "1 1 x|1 5 n1|1 5 n2|")
CASE(emit_set_drop, rn_emit()->message = RN("n1"); rn_set(r, RN("k"), RN("v")); rn_emit()->message = RN("n2");
     rn_set(r, RN("l"), RN("w")); rn_drop(r, RN("x"));, "1 1 x|1 5 n1|1 5 n2|")
CASE(replace, rn_replace(r)->message = RN("new"); rn_emit()->app = RN("e");, "1 3 new|1 5 e|")
CASE(replace_drop, rn_replace(r)->message = RN("new"); rn_drop(r, RN("y"));, "1 1 y|")
CASE(release_before, rn_release(RN("k")); rn_hold(r, RN("k"));, "1 8 k|1 6 k|")
CASE(release_behind, rn_hold(r, RN("k")); rn_release(RN("k"));, "1 6 k|1 8 k|")
CASE(discard, rn_discard(RN("k"), RN("old")); rn_set(r, RN("a"), RN("b"));, "1 10 ....kold|1 2 ........ab|")
CASE(merge, const rn_record *m = rn_merge(RN("k")); rn_join(m, RN("-")); rn_set_bool(m, RN("b"), true); rn_set(r, RN("a"), RN("b"));
     rn_set(m, RN("late"), RN("lost"));, "1 9 ....k........-........b.|1 2 ........ab|")
CASE(merge_behind, rn_set(r, RN("a"), RN("b")); const rn_record *m = rn_merge(RN("k")); rn_join(m, RN("-")); rn_set(r, RN("c"), RN("d"));,
     "1 2 ........ab........cd|1 9 ....k........-|")
CASE(emit_release, rn_emit()->message = RN("n"); rn_release(RN("k")); rn_set(r, RN("a"), RN("b"));, "1 2 ........ab|1 5 n|1 8 k|")
CASE(all_kinds, rn_add(rn_emit(), RN("a"), RN("b")); rn_add_int(rn_emit(), RN("i"), 0x41); rn_add_bool(rn_emit(), RN("t"), true);,
     "1 5 ........ab|1 5 ........iA.......|1 5 ........t.|")

static void test_verdicts(void) {
	void (*cases[])(void) = {run_nothing, run_drop, run_fail, run_hold, run_set, run_set_word, run_route, run_set_then_drop,
	                         run_drop_twice, run_emit, run_emit_drop, run_emit_set_drop, run_replace, run_replace_drop,
	                         run_release_before, run_release_behind, run_discard, run_merge, run_merge_behind, run_emit_release, run_all_kinds};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) cases[i]();
	char got[4096];
	describe((uint32_t)runnel_tick(0x42), got);
	CHECK(strcmp(got, "-1 5 ........nowB.......|-1 8 t|-1 10 ....uold|") == 0, "a tick gave %s", got);
	CHECK(runnel_flush() == 0, "a flush that says nothing has an output");
}

static void large(const rn_record *r) {
	memset(rn_message_space(r, 100000), 'x', 100000);
	for (int i = 0; i < 60; i++) rn_copy(rn_emit(), r);
}

static void test_large(void) {
	at_hand = large;
	uint64_t n = runnel_process(three, sizeof three);
	CHECK(n == 8 + 3 * (100000 + 20 + 60 * 70), "a large output has %u bytes", (uint32_t)n);
	CHECK(rn__out[8 + 12 + 8 + 99999] == 'x', "a large message is not whole");
}

static void test_copies(void) {
	char text[] = "0123456789abcdefghijklmnopqrstuvwxyz", space[40], want[40];
	for (uint32_t n = 0; n <= 36; n++) {
		memset(space, '#', sizeof space), memset(want, '#', sizeof want);
		memcpy(want, text, n);
		rn_copy_bytes(space, text, n);
		CHECK(memcmp(space, want, sizeof space) == 0, "copying %u bytes", n);
		for (uint32_t k = 0; k < n; k++) {
			want[k] ^= 1;
			CHECK(!rn_equal((rn_text){text, n}, (rn_text){want, n}), "byte %u of %u does not count", k, n);
			want[k] ^= 1;
		}
		CHECK(rn_equal((rn_text){text, n}, (rn_text){want, n}), "texts of %u bytes differ", n);
	}
}

// ---- State, held records, tables

static void services(const rn_record *r) {
	if (r->index > 0) return;
	rn_text v;
	int64_t number = 7, read = 0;
	CHECK(!rn_state_get(RN("none"), &v), "a key that is not there has a value");
	CHECK(rn_state_set(RN("n"), (rn_text){(const char *)&number, 8}), "a key cannot be set");
	CHECK(rn_state_read(RN("n"), &read, 8) && read == 7, "a number read is %d", (int)read);
	CHECK(!rn_state_read(RN("n"), &read, 4), "a value of another size is read");
	char big[5000];
	memset(big, 'b', sizeof big);
	rn_state_set(RN("big"), (rn_text){big, sizeof big});
	CHECK(rn_state_get(RN("big"), &v) && v.len == sizeof big && v.at[4999] == 'b', "a large value has %u bytes", v.len);
	rn_state_set(RN("big2"), RN(""));
	CHECK(rn_state_get(RN("big2"), &v) && v.len == 0, "an empty value is not there");
	char keys[100] = "";
	for (rn_text k = RN(""); rn_state_next(k, &k);) snprintf(keys + strlen(keys), 50, "%.*s ", (int)k.len, k.at);
	CHECK(strcmp(keys, "big big2 n ") == 0, "the keys are %s", keys);
	CHECK(rn_state_delete(RN("n")) && !rn_state_delete(RN("n")), "deleting");
	rn_batch b = {0};
	rn_record h;
	CHECK(!rn_held(RN("none"), &b), "a key is held");
	CHECK(rn_held(RN("h"), &b) && b.left == 3, "%u records are held", b.left);
	for (int i = 0; rn_next(&b, &h); i++) {
		CHECK(rn_message(&h).at[0] == 'a' + i, "the wrong record is held");
		rn_set(&h, RN("a"), RN("lost"));
	}
	rn_metric(RN("seen"), 2.5);
	CHECK(rn_find(rn_message(r), RN("0")) == 1 && rn_find(rn_message(r), RN("z")) == -1, "scan");
	CHECK(rn_now() == 42, "the clock");
	CHECK(rn_lookup(RN("t"), RN("web"), &v), "no row");
	rn_config row = rn_object(v);
	rn_set_int(r, RN("size"), rn_get_int(&row, "size", 0) + rn_get_int(&row, "team", 1));
	rn_set(r, RN("t"), rn_get_text(&row, "team", RN("")));
}

static void test_services(void) {
	const char row[] = "{\"team\": \"a\\u0062c\", \"size\": 64}";
	sim.now = 42;
	sim_put(sim.held, &sim.helds, "h", 1, three, sizeof three);
	sim_put(sim.rows, &sim.row_count, "web", 3, row, sizeof row - 1);
	at_hand = services;
	sim.log[0] = 0;
	expect(__LINE__, "0 2 ........sizeA...............tabc|");
	CHECK(sim.metric == 2.5, "the metric is %f", sim.metric);
	CHECK(sim.log[0] == 0, "it said %s", sim.log);
}

// ---- Config

static char config_got[1000];

static void read_config(const rn_config *c) {
	rn_text *list = NULL;
	rn_config o = rn_get_object(c, "o");
	rn_text s = rn_get_text(c, "s", RN("-")), p = rn_get_text(&o, "p", RN("-"));
	bool b = rn_get_bool(c, "b", true);
	int64_t i = rn_get_int(c, "i", 7);
	uint32_t n = rn_get_texts(c, "l", &list);
	int at = sprintf(config_got, "%d %.*s %lld [", b, (int)s.len, s.at, (long long)i);
	for (uint32_t k = 0; k < n; k++) at += sprintf(config_got + at, "%.*s,", (int)list[k].len, list[k].at);
	sprintf(config_got + at, "] %.*s", (int)p.len, p.at);
	rn_known(c, "b", "s", "i", "l", "o");
	rn_known(&o, "p");
}

static void config(int line, const char *json, const char *want, const char *said) {
	// a guest starts once; here it starts again
	rn__ready = false;
	at_start = read_config;
	config_got[0] = sim.log[0] = 0;
	uint32_t n = (uint32_t)strlen(json);
	char *at = runnel_alloc(n);
	memcpy(at, json, n);
	uint32_t status = runnel_init(at, n);
	CHECK(strcmp(config_got, want) == 0, "config of line %d:\n got  %s\n want %s", line, config_got, want);
	CHECK(strcmp(sim.log, said) == 0, "config of line %d said:\n got  %s want %s", line, sim.log, said);
	CHECK((status != 0) == (said[0] != 0), "config of line %d: status %u", line, status);
}

static void test_config(void) {
	const char *none = "1 - 7 [] -";
	config(__LINE__, "", none, "");
	config(__LINE__, "{}", none, "");
	config(__LINE__, " null", none, "");
	config(__LINE__, " { \"b\" : false , \"s\":\"x\\n\\u00e9\\ud83d\\ude00\\\"\",\"i\":-12, \"l\":[\"a\",\"b\\tc\"],\"o\":{\"p\":\"q\"}} ",
	       "0 x\n\xc3\xa9\xf0\x9f\x98\x80\" -12 [a,b\tc,] q", "");
	config(__LINE__, "{\"s\":\"\\ud83d\\u12\\z\",\"\\u0069\":3}", "1 \xef\xbf\xbd\xef\xbf\xbd" "12z 3 [] -", "");
	config(__LINE__, "{\"b\":1}", none, "b is 1, not true or false\n");
	config(__LINE__, "{\"s\":1}", none, "s is 1, not a text\n");
	config(__LINE__, "{\"i\":1.5}", none, "i is 1.5, not a whole number\n");
	config(__LINE__, "{\"i\":12345678901234567890}", none, "i is 12345678901234567890, not a whole number\n");
	config(__LINE__, "{\"i\":9223372036854775807}", "1 - 9223372036854775807 [] -", "");
	config(__LINE__, "{\"i\":-9223372036854775808}", "1 - -9223372036854775808 [] -", "");
	config(__LINE__, "{\"i\":1700000000000000000}", "1 - 1700000000000000000 [] -", "");
	config(__LINE__, "{\"i\":9223372036854775808}", none, "i is 9223372036854775808, not a whole number\n");
	config(__LINE__, "{\"i\":-9223372036854775809}", none, "i is -9223372036854775809, not a whole number\n");
	config(__LINE__, "{\"l\":[\"a\",1]}", none, "l is [\"a\",1], not a list of texts\n");
	config(__LINE__, "{\"l\":[]}", none, "");
	config(__LINE__, "{\"o\":[]}", none, "o is [], not an object\n");
	config(__LINE__, "{\"o\":{\"p\":true}}", none, "o.p is true, not a text\n");
	config(__LINE__, "{\"z\":1,\"o\":{\"y\":2}}", none, "unknown key \"z\"; known are: b, s, i, l, o\nunknown key \"o.y\"; known are: p\n");
	const char *broken[] = {"[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":tru}", "{\"a\":\"", "{a:1}", "\"x\"", "{\"a\":\"\\"};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) config(__LINE__, broken[i], "", "it is not a JSON object\n");
	char deep[300] = "";
	for (int i = 0; i < 40; i++) strcat(deep, "{\"a\":");
	strcat(deep, "1");
	for (int i = 0; i < 40; i++) strcat(deep, "}");
	config(__LINE__, deep, "", "it is not a JSON object\n");
}

int main(int n, char **files) {
	make_three();
	test_config();
	at_start = NULL;
	test_copies();
	test_verdicts();
	test_large();
	test_services();
	CHECK(n > 20, "%d vectors were given", n - 1);
	for (int i = 1; i < n; i++) test_vector(files[i]);
	printf("%d vectors, %d failures\n", n - 1, failures);
	return failures > 0;
}
