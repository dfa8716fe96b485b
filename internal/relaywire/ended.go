package relaywire

// Ended is what a receiver says of a line that was asked for in the session: what of it has come to its end. What these
// offsets had is on the disk of the last agent above, or a tier dropped it on purpose, or has lost
// it and said so. Only what the receiver has said is there, or has acknowledged, can have ended.
type Ended struct {
	Stream string
	Epoch  uint32
	Parts  Ranges // at least one
}

func (m *Ended) append(dst []byte) []byte {
	return appendRanges(le.AppendUint32(appendText(dst, m.Stream), m.Epoch), m.Parts)
}

func (m *Ended) parse(p *parser) {
	m.Stream, m.Epoch, m.Parts = p.text(), p.u32(), p.ranges()
	if len(m.Parts) == 0 {
		p.fail("nothing has ended")
	}
}
