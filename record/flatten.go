package record

// FlattenOptions say how FlattenJSON names and bounds attributes. The zero
// value is the default.
type FlattenOptions struct {
	Prefix string // put before every key, "app." for instance
	Depth  int    // parts of a dotted key; 0: 8
	Fields int    // fields of the document that become attributes; 0: 256
}

// FlattenJSON sets an attribute for each field of the JSON object in msg and
// returns how many.
func FlattenJSON(msg []byte, attrs *Attrs, o FlattenOptions) (ok bool, n int) { return false, 0 }

// ParseLogfmt sets an attribute for each key=value pair in msg.
func ParseLogfmt(msg []byte, attrs *Attrs) bool { return false }
