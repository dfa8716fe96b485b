package storage

// Packed appends to dst the block that begins at offset first as it lies on disk, an s2
// block of an encoded batch, and returns how many records and how many bytes that
// batch has. ok is false where no block of that epoch begins there, it is encoded otherwise,
// or it fails its checks: Read says more of that. Who has the batch needs not compress it again.
func (s *Store) Packed(stream string, epoch uint32, first uint64, dst []byte) (packed []byte, records, raw int, ok bool) {
	s.mu.RLock()
	st := s.streams[stream]
	if st == nil {
		s.mu.RUnlock()
		return dst, 0, 0, false
	}
	r, i, found := st.find(first)
	if !found || r.heads[i].first != first {
		s.mu.RUnlock()
		return dst, 0, 0, false
	}
	seg, sequence := r.seg, r.seg.base+uint64(r.heads[i].sequence)
	s.mu.RUnlock()
	buf := blocks.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 1<<20 {
			blocks.Put(buf)
		}
	}()
	entry, err := seg.read(sequence, (*buf)[:0])
	if err != nil {
		return dst, 0, 0, false
	}
	*buf = entry
	h, body, err := open(entry, sequence)
	if err != nil || h.kind != kindRecords || h.codec != codecS2 || h.first != first || h.epoch != epoch || !h.origin.IsZero() || string(h.stream) != stream {
		return dst, 0, 0, false
	}
	return append(dst, body...), int(h.count), int(h.rawLen), true
}
