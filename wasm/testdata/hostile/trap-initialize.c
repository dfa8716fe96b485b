// Traps in _initialize.
// refused: _initialize: guest trapped: unreachable
#define START __builtin_trap();
#include "hostile.h"

KEEP_ALL
