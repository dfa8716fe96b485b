// Holds every record for ever under keys of 255 bytes: beyond the bytes there may be they fail.
// some fail: state is full
// batches: 8
// state: 262144
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < records(at); i++) verdict(i, HOLD, input, 255);
	return finish(records(at));
}
