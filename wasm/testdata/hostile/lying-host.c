// Gives every host function addresses and lengths that lie.
// fails: a host function was given memory the guest does not have
#include "hostile.h"

WASI(fd_write) u32 fd_write(u32 fd, const void *vectors, u32 n, void *written);
WASI(random_get) u32 random_get(void *buffer, u32 n);
WASI(clock_time_get) u32 clock_time_get(u32 id, u64 precision, void *time);
WASI(poll_oneoff) u32 poll_oneoff(void *subs, void *events, u32 n, void *done);
WASI(fd_fdstat_get) u32 fd_fdstat_get(u32 fd, void *stat);
WASI(args_sizes_get) u32 args_sizes_get(void *a, void *b);

static u64 attack(u32 at, u32 n) {
	void *beyond = (void *)0xfffffff0;
	switch (records(at) % 20) {
	case 0: host_log(0, beyond, 64); break;
	case 1: host_log(0, 0, 0xffffffff); break;
	case 2: host_get(beyond, 64, output, 4); break;
	case 3: host_get("k", 1, beyond, 64); break;
	case 4: host_set("k", 1, beyond, 0xffffffff); break;
	case 5: host_set(beyond, 0xffffffff, "v", 1); break;
	case 6: host_delete(beyond, 17); break;
	case 7: host_next(beyond, 17, output, 1); break;
	case 8: host_next("", 0, beyond, 17); break;
	case 9: host_held(beyond, 17, output, 1); break;
	case 10: host_held("k", 1, beyond, 17); break;
	case 11: host_metric(beyond, 17, 1); break;
	case 12: host_lookup(beyond, 17, "k", 1, output, 1); break;
	case 13: host_lookup("hosts", 5, "h1", 2, beyond, 17); break;
	case 14: host_scan(beyond, 17, "k", 1); break;
	case 15: fd_write(1, beyond, 64, output); break;
	case 16: random_get(beyond, 65536); break;
	case 17: clock_time_get(0, 0, beyond + 12); break;
	case 18: poll_oneoff(beyond, beyond, 1, output); break;
	case 19: fd_fdstat_get(1, beyond); break;
	}
	args_sizes_get(beyond + 13, beyond);
	return 0;
}
