// Counts under 65 names, ones that are no names, and amounts that are no numbers.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	char name[4] = "m_";
	static const double odd[] = {-1, -0.0, 1e308, 1e308};
	for (u32 i = 0; i < 65; i++) {
		name[2] = (char)('0' + i % 10);
		name[3] = (char)('a' + i / 10);
		host_metric(name, 4, 1);
	}
	for (u32 i = 0; i < 4; i++) host_metric("m_", 2, odd[i]);
	host_metric("m_", 2, __builtin_nan(""));
	host_metric("m_", 2, __builtin_inf());
	host_metric("", 0, 1);
	host_metric("a\"} 1\nb{", 9, 1);
	host_metric(input, sizeof input, 1);
	return 0;
}
