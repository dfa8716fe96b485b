package relp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Bounds of offers, as librelp has them.
const (
	maxOffers     = 64
	maxValues     = 64 // of one offer
	maxOfferName  = 32
	maxOfferValue = 255
)

// ErrOffers: the offers of an open, or of its answer, cannot be read or are not enough.
var ErrOffers = errors.New("bad RELP offers")

// Offers are what one end of a connection can do.
type Offers struct {
	Version  int      // relp_version
	Software []string // name, version, URL
	Commands []string // beyond open, close and rsp
}

// Speaks reports whether a command is among those offered.
func (o *Offers) Speaks(command string) bool { return slices.Contains(o.Commands, command) }

// ParseOffers reads offers, an LF between them. An offer that nobody knows is left
// out; one without relp_version is ErrOffers.
func ParseOffers(data []byte) (Offers, error) {
	o := Offers{Version: -1}
	lines := 0
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if len(line) == 0 {
			continue // the specification puts an LF before the first one, librelp does not
		}
		if lines++; lines > maxOffers {
			return Offers{}, fmt.Errorf("%w: more than %d", ErrOffers, maxOffers)
		}
		if err := o.add(line); err != nil {
			return Offers{}, err
		}
	}
	if o.Version < 0 {
		return Offers{}, fmt.Errorf("%w: no relp_version", ErrOffers)
	}
	return o, nil
}

// add reads one offer: NAME, or NAME=VALUE,VALUE…
func (o *Offers) add(line []byte) error {
	name, rest, valued := bytes.Cut(line, []byte{'='})
	if len(name) == 0 || len(name) > maxOfferName {
		return fmt.Errorf("%w: %q has no name of 1 to %d bytes", ErrOffers, line[:min(len(line), 64)], maxOfferName)
	}
	var values []string
	for value := range bytes.SplitSeq(rest, []byte{','}) {
		if len(value) > maxOfferValue {
			return fmt.Errorf("%w: a value of %q has more than %d bytes", ErrOffers, name, maxOfferValue)
		}
		if len(values) == maxValues {
			return fmt.Errorf("%w: %q has more than %d values", ErrOffers, name, maxValues)
		}
		if valued && len(value) > 0 {
			values = append(values, string(value))
		}
	}
	switch string(name) {
	case "relp_version":
		if len(values) == 0 {
			return fmt.Errorf("%w: relp_version without a value", ErrOffers)
		}
		version, err := strconv.ParseUint(values[0], 10, 16)
		if err != nil {
			return fmt.Errorf("%w: relp_version %q", ErrOffers, values[0])
		}
		o.Version = int(version)
	case "relp_software":
		o.Software = values
	case "commands":
		o.Commands = values
	}
	return nil
}

// Append appends the offers, an LF between them, the version first.
func (o *Offers) Append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "relp_version="...), int64(o.Version), 10)
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		dst = append(append(append(dst, '\n'), name...), '=')
		for i, value := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, value...)
		}
	}
	list("relp_software", o.Software)
	list("commands", o.Commands)
	return dst
}

// AppendOpen appends the frame that opens a session.
func AppendOpen(dst []byte, txnr uint32, o *Offers) []byte {
	return AppendFrame(dst, txnr, Open, o.Append(nil))
}

// AppendOpened appends the answer that accepts an open.
func AppendOpened(dst []byte, txnr uint32, o *Offers) []byte {
	return AppendFrame(dst, txnr, Rsp, o.Append([]byte("200 OK\n")))
}
