package query

import (
	"fmt"
	"strings"
	"testing"
)

func TestAuditEndsWithWhatIsUnexplained(t *testing.T) {
	b := serve(t, nil)
	resp, body := b.get("/api/v1/audit")
	if resp.StatusCode != 200 || !strings.HasSuffix(body, `"unexplained":4}`+"\n") {
		t.Errorf("got %d %s, want both sides added up at the end", resp.StatusCode, body)
	}
	for _, want := range []string{`"inputs":[]`, `"modules":[]`, `"forwarders":[]`, `"gaps":[]`, `"received":{"docker":7}`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

// TestLossesHaveAMetric: what the ledger has lost, by stream and reason, and what it has
// not lost as 0, or nobody could alert on it.
func TestLossesHaveAMetric(t *testing.T) {
	a := Audit{Streams: []StreamAudit{{Name: "app", Damaged: 1, Lost: 2, Dropped: 1, Uncommitted: 2, Expired: 4}},
		Forwarders: []ForwarderAudit{{Stream: "app", Dead: 5, Skipped: 6}, {Stream: "app", Dead: 10}, {Stream: "other", Dead: 100}}}
	var b strings.Builder
	writeLosses(&b, &a)
	for reason, n := range map[string]int{"damaged": 1, "lost": 2, "full": 3, "expired": 4, "dead": 15, "skipped": 6} {
		if want := fmt.Sprintf("runnel_audit_lost_records{stream=\"app\",reason=%q} %d\n", reason, n); !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, &b)
		}
	}
	if _, body := serve(t, nil).get("/metrics"); !strings.Contains(body, `runnel_audit_lost_records{stream="app",reason="damaged"} 0`) {
		t.Errorf("/metrics does not have them:\n%s", body)
	}
}
