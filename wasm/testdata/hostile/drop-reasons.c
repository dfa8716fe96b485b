// Drops each record for a reason of its own.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static u32 reasons;
	begin();
	for (u32 i = 0; i < records(at); i++, reasons++) verdict(i, DROP, &reasons, 4);
	return finish(records(at));
}
