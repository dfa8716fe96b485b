package wasm

// Go's compiler has no jumps ahead or back but one: a function is a loop around
// a switch over a local variable, and a jump sets the variable and turns the loop.
//
//	loop
//	  block … block
//	    local.get X
//	    br_table …
//	  end       ;; of the innermost block: what the switch goes to for one value
//	  …
//	  i32.const 3
//	  local.set X
//	  br the loop
//
// So each jump, most of which go ahead, would cost a turn of the whole function.
// Where these instructions stand just so, the place a jump goes to is known.

// switched is such a loop.
type switched struct {
	loop    int    // which of the open blocks
	local   uint32 // X
	targets []int  // of the table, as open blocks; the last is the default
	ends    []mark // of the blocks, outermost first; the zero mark while open
}

// where returns where a jump to the loop goes that comes after the instructions
// in l, or the zero mark if that is not known, and whether that is ahead.
func (s *switched) where(l *recent) (to mark, ahead bool) {
	if l.state != lastSet || l.local != s.local {
		return mark{}, false
	}
	i := s.targets[min(uint64(l.value), uint64(len(s.targets)-1))] - s.loop - 1
	if i < 0 {
		return mark{}, false
	}
	return s.ends[i], s.ends[i].cost == 0
}

// recent is what the instructions just read begin, if anything.
type recent struct {
	state int
	at    int    // of the open blocks, the loop
	value uint32 // the constant, or the variable that was read
	local uint32 // the variable that was set
}

const (
	lastNothing  = iota
	lastLoop     // a loop, and blocks since
	lastRead     // and then a variable read
	lastConstant // a constant
	lastSet      // and then a variable set to it
)

func (l *recent) loop(at int) { *l = recent{state: lastLoop, at: at} }

// block is told of a block or an if.
func (l *recent) block(op byte) {
	if op != opBlock || l.state != lastLoop {
		*l = recent{}
	}
}

func (l *recent) get(local uint32) {
	if l.state == lastLoop {
		l.state, l.value = lastRead, local
		return
	}
	*l = recent{}
}

func (l *recent) constant(v uint32) { *l = recent{state: lastConstant, value: v} }

func (l *recent) set(local uint32) {
	if l.state == lastConstant {
		l.state, l.local = lastSet, local
		return
	}
	*l = recent{}
}
