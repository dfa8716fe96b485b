// Exits by proc_exit in runnel_init.
// refused: guest exited with status 0
#define INIT leave(0);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) void leave(unsigned status);
#include "hostile.h"

KEEP_ALL
