package relaywire

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Mark is what is known of a line, as it is kept on disk under a key. It is absolute; a nil
// Value removes the key.
type Mark struct {
	Key   string
	Value []byte
}

// MarkPrefix begins the key of each Mark of a line.
const MarkPrefix = "line\x00"

// forgotPrefix begins the key of a Mark that says that something of an agent was forgotten. The agent
// follows; the value is the version. Where none follows, all of some agents was.
const forgotPrefix = "forgot\x00"

// Marks returns what the frame changes: to be committed with its records.
func (v *Verdict) Marks() []Mark {
	marks := make([]Mark, 0, len(v.changes))
	for i := range v.changes {
		c := &v.changes[i]
		m := Mark{Key: c.key()}
		if !c.gone {
			m.Value = c.line.append(nil)
		}
		marks = append(marks, m)
	}
	for id := range v.forgets {
		marks = append(marks, Mark{forgotPrefix + string(id[:]), []byte{markVersion}})
	}
	for _, id := range v.evicts {
		marks = append(marks, Mark{Key: forgotPrefix + string(id[:])})
	}
	if v.whole {
		marks = append(marks, Mark{forgotPrefix, []byte{markVersion}})
	}
	return marks
}

// key is the prefix, the agent, the epoch (big-endian), the stream's length as uvarint, the stream, and
// as what it arrived, if that is another.
func (c *lineKey) key() string {
	b := append([]byte(MarkPrefix), c.agent[:]...)
	b = binary.BigEndian.AppendUint32(b, c.at.epoch)
	b = appendUint(b, uint64(len(c.at.stream)))
	return string(append(append(b, c.at.stream...), c.at.as...))
}

const markVersion = 1

func (l *line) append(b []byte) []byte {
	b = appendUint(append(b, markVersion), l.used)
	return appendPrints(appendRanges(b, l.ranges), l.last)
}

var errMark = errors.New("malformed mark of what a relay knows")

// Load reads a mark back. Keys of others are left alone.
func (k *Known) Load(key string, value []byte) error {
	if id, ok := strings.CutPrefix(key, forgotPrefix); ok {
		if len(id) != len(Agent{}) && len(id) != 0 || len(value) != 1 || value[0] != markVersion {
			return errMark
		}
		if id == "" {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.forgot = true
			return nil
		}
		a := k.loaded(Agent([]byte(id)))
		a.forgot, a.marked = true, true
		return nil
	}
	rest, ours := strings.CutPrefix(key, MarkPrefix)
	if !ours {
		return nil
	}
	b := []byte(rest)
	if len(b) < 20 {
		return errMark
	}
	id, at := Agent(b[:16]), arrival{epoch: binary.BigEndian.Uint32(b[16:])}
	n, size := uvarint(b[20:])
	if size <= 0 || n > uint64(len(b)-20-size) {
		return errMark
	}
	names := b[20+size:]
	at.stream, at.as = string(names[:n]), string(names[n:])
	if at.as == at.stream && at.as != "" { // it would be left out
		return errMark
	}
	p := &parser{left: value}
	if p.byte() != markVersion {
		return errMark
	}
	l := line{used: p.uint(), ranges: p.ranges(), last: p.prints()}
	if p.err != nil || len(p.left) > 0 || len(l.ranges) == 0 || len(l.ranges) > mostRanges {
		return errMark
	}
	k.put(k.loaded(id), &change{lineKey: lineKey{id, at}, line: l})
	return nil
}

// loaded returns the entry of an agent that has marks: of it nothing was forgotten but what one says.
func (k *Known) loaded(id Agent) *agent {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, had := k.agents[id]
	a := k.entry(id)
	a.forgot = a.forgot && had
	return a
}

// Drop forgets an agent, with its sessions: after a transaction whose outcome is unknown, for
// its marks to be loaded again.
func (k *Known) Drop(id Agent) {
	a := k.agent(id)
	clear(a.lines)
	a.proven, a.forgot, a.marked = 0, false, false
	k.grow(a, -a.size)
	clear(a.current)
}
