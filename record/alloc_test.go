package record

import "testing"

// TestHotPathsDoNotAllocate guards what runs once a record.
func TestHotPathsDoNotAllocate(t *testing.T) {
	r, v := longSample(), encode(t, longSample())
	var decoded Batch
	p := append([]byte(nil), func() []byte { var b Batch; b.AppendView(v); return b.Bytes() }()...)
	line := AppendJSON(nil, v, sampleMeta)
	object, pairs := []byte(flatObject), []byte(flatLogfmt)
	var batch Batch
	var attrs Attrs
	var into Record
	buf := make([]byte, 0, 4096)
	f := func(name string, run func()) {
		t.Helper()
		run() // what grows, grows once
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	fill := func(add func()) func() {
		return func() {
			batch.Reset()
			add()
		}
	}
	f("Append", fill(func() { _ = batch.Append(r) }))
	f("AppendView", fill(func() { batch.AppendView(v) }))
	f("AppendFlagged", fill(func() { batch.AppendFlagged(v, Dead) }))
	f("AppendRouted", fill(func() { _ = batch.AppendRouted(v, "errors") }))
	f("Batch.Decode", func() { _ = decoded.Decode(p) })
	f("View.Decode", func() { v.Decode(&into) })
	f("View.Attr", func() { v.Attr("path") })
	f("Attrs.Set", func() { attrs.Reset(); attrs.SetInt("a", 1); attrs.SetString("b", "x"); attrs.SetInt("a", 2) })
	f("AppendJSON", func() { buf = AppendJSON(buf[:0], v, sampleMeta) })
	f("AppendText", func() { buf = AppendText(buf[:0], v, sampleMeta, TextOptions{Colour: true}) })
	f("FlattenJSON", func() { attrs.Reset(); FlattenJSON(object, &attrs, FlattenOptions{}) })
	f("ParseLogfmt", func() { attrs.Reset(); ParseLogfmt(pairs, &attrs) })
	if n := testing.AllocsPerRun(100, func() { _ = ParseJSON(line, &into) }); n > 2 {
		t.Errorf("ParseJSON: %v allocations", n)
	}
}
