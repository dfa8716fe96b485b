package wasm

import "context"

// MemoryInUse returns the bytes of linear memory of an idle instance; 0 if all
// are at work, or none is made.
func (m *Module) MemoryInUse() int64 {
	select {
	case in := <-m.free:
		defer m.putBack(in)
		return int64(in.memory.Size())
	default:
		return 0
	}
}

// Refresh ends the instances that are idle: what comes next finds one that
// remembers nothing. Instances of lines and those at work stay.
func (m *Module) Refresh() {
	for {
		select {
		case in := <-m.free:
			m.dropInstance(in)
		default:
			return
		}
	}
}

// MemoryInUse returns the bytes of linear memory of the line's instance; 0 if there is none.
func (l *Line) MemoryInUse() int64 {
	if l.begin(context.Background()) != nil {
		return 0
	}
	defer l.end()
	if l.in == nil {
		return 0
	}
	return int64(l.in.memory.Size())
}
