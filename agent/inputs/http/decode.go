package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// media is what a body holds.
type media uint8

const (
	mediaNone   media = iota
	mediaNDJSON       // a JSON value a line
	mediaJSON         // JSON values and arrays of them, one after another
	mediaText         // a message a line
	mediaSyslog       // syslog messages as on a TCP connection
)

// descriptive are the flags that say what a record is like. The others say what
// happened to it elsewhere, and are not for a sender to claim.
const descriptive = record.Truncated | record.Malformed | record.HostFilled | record.TimeSkewed | record.BestEffort | record.Partial

// growth is how many times larger than max_body the records of a body may be: a
// byte and a line end become a hundred.
const growth = 4

// errTooMuch: the records of a body are beyond their bound.
var errTooMuch = errors.New("the body holds too many records; send fewer at once")

// badBody is an error of the body's, at a line.
type badBody struct {
	line int // from 1
	err  error
}

func (e *badBody) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// decoder makes records of one body. After an error the batch holds some of
// them, and is not to be used.
type decoder struct {
	parser syslog.Parser
	batch  *record.Batch
	limit  int // bytes that the batch may grow to
	max    int // bytes of a message
	now    int64
	fill   func(r *record.Record) // sets what the sender cannot know

	bytes, malformed, truncated, empty int

	rec  record.Record
	text []byte // of a JSON string
}

// decode reads a whole body.
func (d *decoder) decode(what media, p []byte) error {
	switch what {
	case mediaNDJSON:
		return d.ndjson(p)
	case mediaJSON:
		return d.json(p)
	case mediaSyslog:
		return d.syslog(p)
	default:
		return d.lines(p)
	}
}

// eachLine calls f with every line that is not empty, without its line end.
func (d *decoder) eachLine(p []byte, f func(line []byte) error) error {
	for n := 1; len(p) > 0; n++ {
		line, rest, _ := bytes.Cut(p, []byte{'\n'})
		p = rest
		if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) == 0 { // RFC 2046 §4.1.1
			d.empty++
			continue
		}
		if err := f(line); err != nil {
			return atLine(n, err)
		}
	}
	return nil
}

// atLine adds the line to an error of the body's.
func atLine(n int, err error) error {
	if errors.Is(err, errTooMuch) {
		return err
	}
	return &badBody{n, err}
}

// lines makes each line a message.
func (d *decoder) lines(p []byte) error {
	return d.eachLine(p, func(line []byte) error {
		d.rec.Reset()
		d.rec.Message = line
		return d.add(line)
	})
}

// ndjson makes each line's JSON value a record.
func (d *decoder) ndjson(p []byte) error {
	return d.eachLine(p, func(line []byte) error {
		if line[0] == '{' && record.ParseJSON(line, &d.rec) == nil {
			return d.own(line)
		}
		value, rest, err := record.NextJSON(line)
		switch {
		case err != nil:
			return err
		case len(value) == 0: // white space
			d.empty++
			return nil
		case len(bytes.TrimLeft(rest, " \t\r")) > 0:
			return fmt.Errorf("text after the JSON value, at byte %d", len(line)-len(rest))
		}
		if value[0] == '{' {
			return d.foreign(value)
		}
		return d.value(value)
	})
}

// json makes each of the values in p, and each element of an array, a record.
func (d *decoder) json(p []byte) error {
	at := func(rest []byte, err error) error {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		return atLine(1+bytes.Count(p[:len(p)-len(rest)], []byte{'\n'}), err)
	}
	for rest := p; ; {
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if len(rest) > 0 && rest[0] == '[' {
			var err error
			if rest, err = d.array(rest); err != nil {
				return at(rest, err)
			}
			continue
		}
		value, next, err := record.NextJSON(rest)
		if err == nil && len(value) == 0 {
			return nil
		}
		if err == nil {
			err = d.value(value)
		}
		if err != nil {
			return at(rest, err)
		}
		rest = next
	}
}

// array reads an array from its bracket on, and returns what follows it, or where
// the error is.
func (d *decoder) array(p []byte) (rest []byte, err error) {
	rest = bytes.TrimLeft(p[1:], " \t\r\n")
	if len(rest) > 0 && rest[0] == ']' {
		return rest[1:], nil
	}
	for {
		value, next, err := record.NextJSON(rest)
		if err == nil && len(value) == 0 {
			err = errors.New("the array does not end")
		}
		if err == nil {
			err = d.value(value)
		}
		if err != nil {
			return rest, err
		}
		rest = bytes.TrimLeft(next, " \t\r\n")
		switch {
		case len(rest) == 0:
			return rest, errors.New("the array does not end")
		case rest[0] == ']':
			return rest[1:], nil
		case rest[0] != ',':
			return rest, fmt.Errorf("%q between the elements of an array", rest[0])
		}
		rest = rest[1:]
	}
}

// value makes a valid JSON value a record.
func (d *decoder) value(value []byte) error {
	switch value[0] {
	case '{':
		if record.ParseJSON(value, &d.rec) == nil {
			return d.own(value)
		}
		return d.foreign(value)
	case '"':
		d.text = record.AppendUnquoted(d.text[:0], value)
		d.rec.Reset()
		d.rec.Message = d.text
	default:
		return errors.New("want a JSON object or a string")
	}
	return d.add(value)
}

// foreign keeps an object of another form as it came.
func (d *decoder) foreign(object []byte) error {
	d.rec.Reset()
	d.rec.Message = object
	return d.add(object)
}

// own takes a record in our own form, without what it says about places that
// are the receiver's to know.
func (d *decoder) own(raw []byte) error {
	r := &d.rec
	if r.Time == record.NoTime && r.Received != 0 {
		r.Time = r.Received // the nearest that anybody knows
	}
	r.Stream, r.Origin, r.Flags = nil, record.Origin{}, r.Flags&descriptive
	return d.add(raw)
}

// syslog reads p as a connection that is closed after it.
func (d *decoder) syslog(p []byte) error {
	f := syslog.NewFramer(bytes.NewReader(p), d.max)
	for n := 1; ; n++ {
		frame, flags, err := f.Next()
		if err == io.EOF {
			d.empty += int(f.Empty())
			return nil
		}
		if err == nil && flags&record.Partial != 0 {
			err = errors.New("the body ends inside a counted message")
		}
		if err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		d.parser.Parse(frame, &d.rec)
		d.rec.Flags |= flags
		if err := d.add(frame); err != nil {
			return err
		}
	}
}

// add appends the record at hand, of which raw is what came.
func (d *decoder) add(raw []byte) error {
	r := &d.rec
	d.finish(r)
	if err := d.batch.Append(r); err != nil {
		// A header field or attribute beyond what a record holds: keep it raw.
		r.Reset()
		r.Message, r.Flags = raw, record.Malformed
		d.finish(r)
		if err := d.batch.Append(r); err != nil {
			return errTooMuch
		}
	}
	d.bytes += len(raw)
	if r.Flags&record.Malformed != 0 {
		d.malformed++
	}
	if r.Flags&record.Truncated != 0 {
		d.truncated++
	}
	if d.batch.Size() > d.limit {
		return errTooMuch
	}
	return nil
}

// finish cuts the message and sets what is ours to say.
func (d *decoder) finish(r *record.Record) {
	if len(r.Message) > d.max {
		r.Message = r.Message[:d.max]
		r.Flags |= record.Truncated
	}
	d.fill(r)
}
