package query

import (
	"strings"
	"testing"
)

func TestAuditEndsWithWhatIsUnexplained(t *testing.T) {
	b := serve(t, nil)
	resp, body := b.get("/api/v1/audit")
	if resp.StatusCode != 200 || !strings.HasSuffix(body, `"unexplained":4}`+"\n") {
		t.Errorf("got %d %s, want both sides added up at the end", resp.StatusCode, body)
	}
	for _, want := range []string{`"inputs":[]`, `"modules":[]`, `"forwarders":[]`, `"received":{"docker":7}`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}
