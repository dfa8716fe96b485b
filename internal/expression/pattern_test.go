package expression

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// TestPatternsArePaidFor holds that patterns cannot keep a processor for long:
// who may ask may write 4 KiB of them, and a sender decides what they read.
func TestPatternsArePaidFor(t *testing.T) {
	f := func(message, part string, parts int, want bool) {
		t.Helper()
		var b record.Batch
		if err := b.Append(&record.Record{Message: []byte(message)}); err != nil {
			t.Fatal(err)
		}
		p, err := Condition(part + strings.Repeat(" or "+part, parts-1) + ` or host == nil`)
		if err != nil {
			t.Fatal(err)
		}
		e := p.Evaluator()
		got := e.Match(b.At(0), Context{})
		over := -e.scope.patterns
		if onVM := truth(e.run(b.At(0), Context{})); got != want || onVM != want {
			t.Errorf("%d times %s over %d bytes: natively %v, on the VM %v, want %v", parts, part, len(message), got, onVM, want)
		}
		if over > longPattern {
			t.Errorf("%d times %s over %d bytes did %d more than it may", parts, part, len(message), over)
		}
		if over > 0 == want {
			t.Errorf("%d times %s over %d bytes did %d more than it may, and is %v", parts, part, len(message), over, got)
		}
	}
	long := strings.Repeat("abc def GET /x 200 ", 1<<20/19)
	// What can be paid is as ever.
	f("GET /x", `message matches "^GET /[a-z]$"`, 1, true)
	f(long, `message matches "Z$"`, 1, true) // false, but host is nil
	f(long, `message matches "^GET .*x"`, 80, true)
	f(long, `message matches "absent.*x"`, 80, true)
	f(strings.Repeat(long, 15), `message matches "[0-9]+\\.[0-9]+"`, 1, true)
	f(long[:60<<10], `message matches "[0-9]+\\.[0-9]+"`, 80, true)
	// What cannot makes the whole false, whatever stands beside it.
	f(long, `message matches "[a-z]+@[a-z]+"`, 80, false)
	f(long, `not (message matches "(.?){900}Z")`, 1, false)
}

func TestPatternsThatAreTooLarge(t *testing.T) {
	f := func(pattern, want string) {
		t.Helper()
		_, err := Condition(`message matches "` + pattern + `"`)
		switch {
		case want == "" && err != nil:
			t.Errorf("%.40s: %v", pattern, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.40s: got %v, want %s", pattern, err, want)
		}
	}
	f(strings.Repeat("a", maxPattern), "")
	f(strings.Repeat("a", maxPattern+1), "the pattern has 1025 bytes, and may have 1024")
	f(strings.Repeat("a", 4<<10), "the pattern has 4096 bytes")
	f("(.?){999}", "")
	f("(.?.?){1000}", "the pattern has 6002 steps with its repetitions written out, and may have 4000; repeat less")
	f(strings.Repeat("(.{1000})", 100), "steps with its repetitions")
	f("((.{100}){100}){100}", "the pattern is wrong: invalid repeat count")
}
