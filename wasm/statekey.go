package wasm

import "strings"

// ValueKey returns the key of the Change that sets a guest's own key, for who
// fills a state by Restore before a module runs.
func ValueKey(guests string) string { return string(changeValue) + guests }

// GuestKey returns the guest's own key that a Change is about; false if the
// change is about a held record.
func (c Change) GuestKey() (string, bool) { return strings.CutPrefix(c.Key, string(changeValue)) }
