package record

// TextOptions say how AppendText writes.
type TextOptions struct {
	Terminal bool // escape everything that could move a cursor or turn text around
	Colour   bool // colour by severity
}

// AppendText appends v as a line for people, without a line end.
func AppendText(dst []byte, v View, m Meta, o TextOptions) []byte { return dst }
