// host.h is a simulated host: it stands in for runnel where a guest is compiled for
// this machine, so that its handlers can be tested and debugged natively. Include it
// in a test, before or after the guest; nothing in it is bounded as the host is.
#ifndef RUNNEL_HOST_H
#define RUNNEL_HOST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_entry {
	char key[256];
	uint32_t len, size;
	uint8_t *value;
};

static struct {
	int64_t now;
	char log[4096]; // every line, each with its end
	struct sim_entry state[64], held[8], rows[8]; // in the order of keys; held: batches
	uint32_t states, helds, row_count;
	double metric;
} sim;

static struct sim_entry *sim_find(struct sim_entry *list, uint32_t n, const void *key, uint32_t len) {
	for (uint32_t i = 0; i < n; i++)
		if (list[i].len == len && memcmp(list[i].key, key, len) == 0) return &list[i];
	return NULL;
}

static int32_t sim_give(const struct sim_entry *e, void *to, uint32_t room) {
	if (e == NULL) return -1;
	if (e->size <= room && e->size > 0) memcpy(to, e->value, e->size);
	return (int32_t)e->size;
}

// sim_put sets a key of a list; lists are short, so they are sorted anew.
static int sim_order(const void *a, const void *b) {
	const struct sim_entry *x = a, *y = b;
	int d = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
	return d != 0 ? d : (int)x->len - (int)y->len;
}

static void sim_put(struct sim_entry *list, uint32_t *n, const void *key, uint32_t len, const void *value, uint32_t size) {
	struct sim_entry *e = sim_find(list, *n, key, len);
	if (e == NULL) e = &list[(*n)++];
	free(e->value);
	memcpy(e->key, key, len);
	e->len = len, e->size = size;
	e->value = malloc(size + 1);
	if (size > 0) memcpy(e->value, value, size);
	qsort(list, *n, sizeof *list, sim_order);
}

void rn_host_log(uint32_t level, const void *at, uint32_t len) {
	size_t used = strlen(sim.log);
	(void)level;
	snprintf(sim.log + used, sizeof sim.log - used, "%.*s\n", (int)len, (const char *)at);
}

int64_t rn_host_now(void) { return sim.now; }

int32_t rn_host_scan(const void *at, uint32_t len, const void *word, uint32_t n) {
	for (uint32_t i = 0; n <= len && i <= len - n; i++)
		if (n == 0 || memcmp((const char *)at + i, word, n) == 0) return (int32_t)i;
	return -1;
}

int32_t rn_host_state_get(const void *key, uint32_t len, void *to, uint32_t room) {
	return sim_give(sim_find(sim.state, sim.states, key, len), to, room);
}

int32_t rn_host_state_set(const void *key, uint32_t len, const void *value, uint32_t size) {
	if (len == 0 || len > 255 || size > 65536) return -1;
	if (sim.states == 64 && sim_find(sim.state, sim.states, key, len) == NULL) return -1;
	sim_put(sim.state, &sim.states, key, len, value, size);
	return 0;
}

int32_t rn_host_state_delete(const void *key, uint32_t len) {
	struct sim_entry *e = sim_find(sim.state, sim.states, key, len);
	if (e == NULL) return -1;
	free(e->value);
	memmove(e, e + 1, (size_t)(&sim.state[--sim.states] - e) * sizeof *e);
	sim.state[sim.states].value = NULL;
	return 0;
}

int32_t rn_host_state_next(const void *key, uint32_t len, void *to, uint32_t room) {
	struct sim_entry want = {.len = len};
	memcpy(want.key, key, len);
	for (uint32_t i = 0; i < sim.states; i++) {
		const struct sim_entry *e = &sim.state[i];
		if (sim_order(e, &want) <= 0) continue;
		if (e->len <= room) memcpy(to, e->key, e->len);
		return (int32_t)e->len;
	}
	return -1;
}

int32_t rn_host_held(const void *key, uint32_t len, void *to, uint32_t room) {
	return sim_give(sim_find(sim.held, sim.helds, key, len), to, room);
}

void rn_host_metric_add(const void *name, uint32_t len, double value) {
	(void)name, (void)len;
	sim.metric += value;
}

int32_t rn_host_lookup(const void *table, uint32_t table_len, const void *key, uint32_t len, void *to, uint32_t room) {
	(void)table, (void)table_len;
	return sim_give(sim_find(sim.rows, sim.row_count, key, len), to, room);
}

#endif
