package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-log/runnel/forwarders"
)

// maxRetryAfter bounds how long a receiver can make us wait.
const maxRetryAfter = time.Hour

// verdict turns an answer other than 2xx into the error that Deliver returns.
// Only an answer about the records themselves refuses them for good; one about
// the endpoint (moved, not there, credentials) is tried again for ever: a token that expired, or a
// proxy that answers for a receiver being deployed, must not send a whole stream to the
// dead letters.
func verdict(answer *http.Response, body []byte, now time.Time) error {
	text := excerpt(answer, body)
	if refuses(answer.StatusCode) {
		return &forwarders.Refused{Index: -1, Answer: text}
	}
	if answer.StatusCode/100 == 3 {
		text += redirectHint(answer)
	}
	err := fmt.Errorf("receiver answered %q", text)
	if after, ok := retryAfter(answer.Header, now); ok {
		return &forwarders.Retry{After: after, Err: err}
	}
	return err
}

// refuses reports whether a status is about what was sent (RFC 9110 §15.5).
func refuses(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest,
		http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code/100 == 4
}

// redirectHint says where the receiver pointed; redirects are not followed, for
// they would carry records and headers to a host that the config does not name.
func redirectHint(answer *http.Response) string {
	to := answer.Header.Get("Location")
	if to == "" {
		return ""
	}
	return cut(fmt.Sprintf(" (redirects are not followed; url: would have to be %q)", address(to)), 256)
}

// excerpt returns the status and the beginning of the body.
func excerpt(answer *http.Response, body []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(body), "\uFFFD"))
	if text == "" {
		return answer.Status
	}
	return cut(answer.Status+": "+text, forwarders.MaxAnswer-256)
}

// cut shortens s to at most n bytes, at the boundary of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// retryAfter reads Retry-After, in seconds or as a date (RFC 9110 §10.2.3). A
// date is compared with the answer's own Date where there is one, so that a
// receiver whose clock differs from ours is understood.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if digits := strings.Trim(value, "0123456789"); digits == "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return maxRetryAfter, true // more digits than anyone can mean
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}
