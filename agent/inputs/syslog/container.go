package syslog

import (
	"bytes"

	"github.com/runnel-log/runnel/record"
)

// attrContainer is the attribute that holds a container's id.
const attrContainer = "container_id"

// Docker's ids are 64 hexadecimal digits, or the first 12 of them.
const (
	shortID = 12
	fullID  = 64
)

// digest stands before the id of an image ("{{.ImageFullID}}").
var digest = []byte("sha256:")

// setContainer sets attrs.container_id where the tag carries a container's id.
// Docker writes its tag ("{{.ID}}" by default, or the user's template) into
// the app and, in RFC 5424, again into the msgid; a blank in the template shifts
// the fields, so that the id can stand in any of three. The rule:
//
//   - the app is such an id, or one of the parts of it between characters other
//     than letters, digits and "-" is ("web-1/e29e506a1cb5"); a part needs a
//     letter and a digit, or it could be a date, and after "sha256:" it is an image's id;
//   - or else the msgid, or the procid, as a whole is one with a letter and a digit.
//
// "-" does not divide, or the last part of every UUID would be an id.
func setContainer(r *record.Record) {
	if len(r.App) >= shortID {
		if id := idWithin(r.App); id != nil {
			r.Attrs.Set(attrContainer, record.String, id)
			return
		}
	}
	for _, field := range [...][]byte{r.MsgID, r.ProcID} {
		if (len(field) == shortID || len(field) == fullID) && isID(field, false) {
			r.Attrs.Set(attrContainer, record.String, field)
			return
		}
	}
}

// idWithin returns the part of app that is an id, or nil.
func idWithin(app []byte) []byte {
	if (len(app) == shortID || len(app) == fullID) && isID(app, true) {
		return app
	}
	from := 0
	for i := 0; i <= len(app); i++ {
		if i < len(app) && inPart[app[i]] {
			continue
		}
		if n := i - from; (n == shortID || n == fullID) && isID(app[from:i], false) && !bytes.HasSuffix(app[:from], digest) {
			return app[from:i]
		}
		from = i + 1
	}
	return nil
}

// isID reports whether b is all lower-case hexadecimal digits; a whole tag of
// decimal digits alone is one too, as one id in 280 is.
func isID(b []byte, whole bool) bool {
	letters, digits := 0, 0
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f':
			letters++
		default:
			return false
		}
	}
	return whole || letters > 0 && digits > 0
}

// inPart has the characters that do not divide a tag. Bytes beyond ASCII are letters.
var inPart = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x80 || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	return t
}()
