package webhook

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

// FuzzVerdict gives a receiver's answer any form: how long it has us wait is
// bounded, and so is what is kept of its words.
func FuzzVerdict(f *testing.F) {
	f.Add(503, "120", "Sun, 22 Nov 2026 10:00:00 GMT", "", "busy")
	f.Add(429, "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 09:00:00 GMT", "", "\xff\x00\x1b[2J")
	f.Add(307, "-1", "", "https://me:s@x/?key=1", strings.Repeat("x", 100))
	f.Add(400, "99999999999999999999", "", "", "")
	f.Fuzz(func(t *testing.T, code int, after, date, location, body string) {
		if code < 100 || code > 999 || code/100 == 2 {
			return
		}
		answer := &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Retry-After": {after}, "Date": {date}, "Location": {location}}}
		err := verdict(answer, []byte(body), time.Unix(1_800_000_000, 0))
		var refused *forwarders.Refused
		var retry *forwarders.Retry
		switch {
		case err == nil:
			t.Errorf("%d is taken for success", code)
		case errors.As(err, &refused) && len(refused.Answer) > forwarders.MaxAnswer:
			t.Errorf("%d bytes of the answer are kept", len(refused.Answer))
		case errors.As(err, &retry) && (retry.After < 0 || retry.After > maxRetryAfter):
			t.Errorf("it has us wait for %s", retry.After)
		}
	})
}
