package expression

import (
	"strings"
	"testing"

	"github.com/runnel-log/runnel/record"
)

// TestFunctionsPayOutsideLoopsToo holds that one evaluation is bounded however
// often it names a function: who may ask may write 4 KiB of them.
func TestFunctionsPayOutsideLoopsToo(t *testing.T) {
	var b record.Batch
	if err := b.Append(&record.Record{Message: []byte(strings.Repeat("a", 1<<20))}); err != nil {
		t.Fatal(err)
	}
	f := func(part string, most int) {
		t.Helper()
		source := part + strings.Repeat(" or "+part, 59)
		p, err := Condition(source)
		if err != nil {
			t.Fatal(err)
		}
		e := p.Evaluator()
		if e.Match(b.At(0), Context{}) {
			t.Errorf("%s is true", part)
		}
		if e.work > most {
			t.Errorf("%s: did %d bytes of work, want at most %d", part, e.work, most)
		}
		if e.work <= maxWork {
			t.Errorf("%s: did %d bytes of work, which is no test", part, e.work)
		}
	}
	f(`len(toJSON(split(message, ""))) == 7`, 2*maxWork)
	f(`len(replace(message, "a", "bbb")) == 7`, 2*maxWork)
}
