package agent

import (
	"context"
	"strings"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/storage"
)

// markOwner stands where the keys of a module's state have their pipeline: no
// pipeline has an empty name, so that marks and modules never meet.
const markOwner = ""

// markKeys is what the keys of an input's marks begin with. What came from other
// runnels is known whichever input it came through.
func markKeys(ic InputConfig) string {
	if ic.Kind.Relays {
		return markOwner + "\x00" + ic.Kind.Name + "\x00\x00"
	}
	return markOwner + "\x00" + ic.Kind.Name + "\x00" + ic.Name + "\x00"
}

// forwarderMarks is what the keys of a forwarder's marks begin with: no kind of input has
// a name like that.
func forwarderMarks(fc ForwarderConfig) string {
	return markOwner + "\x00forwarder " + fc.Kind.Name + "\x00" + fc.Name + "\x00"
}

// changesOf makes marks what the store knows.
func changesOf(keys string, marks []inputs.Mark) []storage.Change {
	if len(marks) == 0 {
		return nil
	}
	changes := make([]storage.Change, len(marks))
	for i, m := range marks {
		changes[i] = storage.Change{Key: keys + m.Key, Value: m.Value}
	}
	return changes
}

// marks returns what an input reads its marks with.
func (a *Agent) marks(keys string) func(f func(key string, value []byte)) {
	return func(f func(key string, value []byte)) {
		a.store.State(keys, func(key string, value []byte) { f(key[len(keys):], value) })
	}
}

// memory returns what the inputs of one name and kind share.
func (a *Agent) memory(keys string) *inputs.Memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.memories[keys]
	if m == nil {
		m = new(inputs.Memory)
		a.memories[keys] = m
	}
	return m
}

// forgetMarks removes the marks of inputs and forwarders that the configuration has no more.
// Only a start does so: an input that comes back with a reload finds its own. What
// is known of other runnels stays: without it, all that they still have would come again.
func (a *Agent) forgetMarks(ctx context.Context, c *Config) error {
	known := make(map[string]bool, len(c.Inputs))
	for _, ic := range c.Inputs {
		known[markKeys(ic)] = true
	}
	for _, fc := range c.Forwarders {
		known[forwarderMarks(fc)] = true
	}
	var gone []storage.Change
	a.store.State(markOwner+"\x00", func(key string, _ []byte) {
		if parts := strings.SplitN(key, "\x00", 4); len(parts) == 4 && parts[2] != "" && !known[key[:len(key)-len(parts[3])]] {
			gone = append(gone, storage.Change{Key: key})
		}
	})
	if len(gone) == 0 {
		return nil
	}
	_, err := a.store.Append(ctx, storage.Unit{State: gone})
	return err
}
