// Changes records by operations whose lengths lie, and by ones that no kind allows.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static const u32 lies[][2] = {{1 << 16 | 1, 0xffffffff}, {0xffff0001, 0}, {1, 0xfffffff8}, {3, 1}, {5, 0}, {16, 0}, {99, 0}, {26, 0}, {0x101, 0}, {19, 0x10000}};
	const u32 *lie = lies[records(at) % (sizeof lies / sizeof lies[0])];
	begin();
	header(0, PATCH, 8);
	put32(lie[0]);
	put32(lie[1]);
	return finish(1);
}
