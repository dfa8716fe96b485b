// Fails each record with a message of bytes that are no text.
// fails:
// blind
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < records(at); i++) {
		header(i, FAIL, 255);
		for (u32 k = 0; k < 255; k++) put8((u8)(255 - k));
	}
	return finish(records(at));
}
