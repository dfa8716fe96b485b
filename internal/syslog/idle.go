package syslog

// Size returns how many bytes of buffer the Framer holds.
func (f *Framer) Size() int { return len(f.buf) }

// Shrink gives a grown buffer back, unless a part of a message lies in it: for
// a connection that has fallen silent, of which there may be thousands.
func (f *Framer) Shrink() {
	if f.from == f.to && !f.ready && len(f.buf) > smallBuffer {
		f.sized(smallBuffer)
		f.buf, f.from, f.to = make([]byte, smallBuffer), 0, 0
		f.searched, f.judged, f.shown = 0, 0, 0
	}
}
