package wasm

import "testing"

// TestGrownInstanceIsReplaced: memory that a guest has taken and no longer needs
// is given back between two batches.
func TestGrownInstanceIsReplaced(t *testing.T) {
	grow := assembly{memory: []byte{0, 20}, process: join(i32(1), []byte{opMemoryGrow, 0, 0x1a, 0x42, 0})}.bytes()
	m := load(t, Options{Code: grow, Memory: 128 * pageSize})
	in := commands(t, "one")
	greatest := uint32(0)
	for range 3 * wornAfter {
		var out Outcome
		if err := m.Process(t.Context(), in, &out); err != nil || out.Failed > 0 {
			t.Fatal(err, out.LastError)
		}
		out.release(in)
		inst, made, err := m.acquire(t.Context())
		if made != nil || err != nil {
			t.Fatal(made, err)
		}
		greatest = max(greatest, inst.memory.Size())
		m.free <- inst
	}
	if got := m.Stats().Recycled; got != 3 {
		t.Errorf("got %d instances replaced, want 3", got)
	}
	if greatest != 128*pageSize {
		t.Errorf("got a memory of %d bytes at most, want that it grew to its limit", greatest)
	}
	if now := idle(t, m).memory.Size(); now > 21*pageSize {
		t.Errorf("got a memory of %d bytes after, want a new one", now)
	}
}
