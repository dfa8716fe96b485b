// Bench is the guest that wasm/bench_test.go measures the SDK with.
#include "../runnel.h"

static bool route;

static void configure(const rn_config *c) {
	rn_known(c, "do");
	rn_text what = rn_get_text(c, "do", RN("keepdrop"));
	route = rn_is(what, "route");
	if (!route && !rn_is(what, "keepdrop")) rn_wrong(c, "do", "keepdrop or route");
}

static void handle(const rn_record *r) {
	if (!route) {
		if (rn_severity(r) == RN_DEBUG) rn_drop(r, RN("debug"));
		return;
	}
	if (rn_app(r).len > 0 && rn_host(r).len > 0 && rn_message(r).len > 0) rn_set(r, RN("class"), RN("web"));
	if (rn_severity(r) <= RN_ERR) rn_route(r, RN("errors"));
}

RUNNEL_GUEST(configure, handle)
