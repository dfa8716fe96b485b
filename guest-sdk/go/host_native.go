//go:build !wasm

package runnel

import "strings"

// The host's functions, as Simulation has them, with the bounds of ABI §5 that
// a guest can see.

func hostLog(_ uint32, line string) {
	simulation.Lines = append(simulation.Lines, strings.Clone(line))
}

func hostNow() int64 { return simulation.Now }

// give writes an answer as the host does (ABI §5.3).
func give(value string, ok bool, buf []byte) int32 {
	if !ok {
		return -1
	}
	if len(value) <= len(buf) {
		copy(buf, value)
	}
	return int32(len(value))
}

func hostStateGet(key string, buf []byte) int32 {
	value, ok := simulation.State[key]
	return give(value, ok, buf)
}

func hostStateSet(key, value string) int32 {
	s := simulation
	if s.starting || len(key) == 0 || len(key) > 255 || len(value) > 65536 {
		return -1
	}
	if s.State == nil {
		s.State = map[string]string{}
	}
	s.State[strings.Clone(key)] = strings.Clone(value)
	return 0
}

func hostStateDelete(key string) int32 {
	if _, ok := simulation.State[key]; !ok || simulation.starting {
		return -1
	}
	delete(simulation.State, key)
	return 0
}

func hostStateNext(key string, buf []byte) int32 {
	next, found := "", false
	for k := range simulation.State {
		if k > key && (!found || k < next) {
			next, found = k, true
		}
	}
	return give(next, found, buf)
}

func hostHeld(key string, buf []byte) int32 {
	records := simulation.Held[key]
	if len(records) == 0 {
		return -1
	}
	batch := make([]byte, batchHeader)
	for _, r := range records {
		batch = append(batch, r...)
	}
	copy(batch, "rb\x01\x00")
	put32(batch[4:], uint32(len(batch)))
	put32(batch[8:], uint32(len(records)))
	return give(text(batch), true, buf)
}

func hostMetric(name string, n float64) {
	if simulation.Metrics == nil {
		simulation.Metrics = map[string]float64{}
	}
	simulation.Metrics[strings.Clone(name)] += n
}

func hostLookup(table, key string, buf []byte) int32 {
	row, ok := simulation.Tables[table][key]
	return give(row, ok, buf)
}

func hostScan(in []byte, word string) int32 { return int32(strings.Index(text(in), word)) }
