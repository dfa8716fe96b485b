// Loops without end in _initialize.
// refused: _initialize: not done
// endless
#define START FOREVER
#include "hostile.h"

KEEP_ALL
