// Sets and deletes without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 turn = 0;
	for (;;) host_set((turn++, (u8 *)&turn), 4, "v", 1), host_delete((u8 *)&turn, 4);
}
