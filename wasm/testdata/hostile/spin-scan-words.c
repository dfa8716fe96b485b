// Searches a megabyte of one letter for words that nearly match everywhere, of lengths about the bounds of the search.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static const u32 lengths[] = {2, 3, 7, 8, 31, 32, 33, 59, 60, 61, 62, 63, 64, 65, 1000, 65535, 65536, 500000};
	__builtin_memset(input, 'a', sizeof input);
	__builtin_memset(output, 'a', 1 << 20);
	for (u32 turn = 0;; turn++) {
		u32 length = lengths[turn % (sizeof lengths / sizeof lengths[0])], wrong = turn / 18 % 3;
		u8 *odd = output + (wrong == 0 ? length - 1 : wrong == 1 ? 0 : length / 2);
		*odd = 'b';
		host_scan(input, sizeof input, output, length);
		*odd = 'a';
	}
}
