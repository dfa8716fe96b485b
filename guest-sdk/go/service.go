package runnel

// Metric adds n, which is finite and not negative, to the counter
// runnel_guest_NAME of the agent (ABI §5.4). A name is [a-z][a-z0-9_]*. The
// module's config must grant it: grant: [metrics].
func Metric(name string, n float64) { hostMetric(name, n) }

// Scan returns where in the text the word first is, or -1: the host's search,
// which is faster than a guest's on long texts.
func Scan(text []byte, word string) int { return int(hostScan(text, word)) }

// Lookup returns the row of a table of the module's config, tables: {NAME:
// {file: FILE}}, and whether there is one. It is borrowed until the next Lookup.
func Lookup(table, key string) (row Row, ok bool) {
	n := hostLookup(table, key, rows.room())
	if rows.short(n) {
		n = hostLookup(table, key, rows.room())
	}
	if n < 0 {
		return "", false
	}
	return Row(text(rows[:n])), true
}

// Row is a row of a table: a JSON object.
type Row string

// Raw returns a column's value as JSON text, "" if there is none.
func (r Row) Raw(column string) string {
	raw := ""
	p := parser{s: string(r)}
	p.object(func(key, value string) {
		if key == column {
			raw = value
		}
	})
	return raw
}

// Text returns the value of a column: a text as it is, anything else as JSON;
// "" if there is none.
func (r Row) Text(column string) string {
	raw := r.Raw(column)
	if raw != "" && raw[0] == '"' {
		return unquote(raw)
	}
	return raw
}
