// A module for runnel.
#include "runnel.h"

// Set once, by the config. Nothing may change from record to record: what must
// stay belongs in the module's state.
static rn_text team;
static bool drop_debug;

static void configure(const rn_config *c) {
	rn_known(c, "team", "drop_debug");
	team = rn_get_text(c, "team", RN("nobody"));
	drop_debug = rn_get_bool(c, "drop_debug", false);
}

static void handle(const rn_record *r) {
	if (drop_debug && rn_severity(r) == RN_DEBUG) {
		rn_drop(r, RN("debug"));
		return;
	}
	rn_set(r, RN("team"), team);
}

RUNNEL_GUEST(configure, handle)
