package tlsconf

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Dates are those of one file that a tls section names. A file out of date is no mistake of the
// configuration: it was right when it was written, and who uses it goes on once it is replaced.
type Dates struct {
	Key  string // of the section: cert, ca or client_ca
	File string

	read   func() ([]*x509.Certificate, error)
	files  []string
	stamps []stamp
	in     []*x509.Certificate // what the files held when they last could be used; one in date is enough
}

// readOnce is the key of what a part reads when it is made, and not again.
const readOnce = "ca"

// DatesOf returns those of every tls section in options, which are a pointer to a struct.
func DatesOf(options any) (all []*Dates) {
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch s := v.Field(i).Interface().(type) {
		case Client:
			all = append(all, ofPair(s.Cert, s.Key)...)
			all = append(all, ofPool(readOnce, s.CA)...)
		case *Server:
			if s != nil {
				all = append(all, ofPair(s.Cert, s.Key)...)
				all = append(all, ofPool("client_ca", s.ClientCA)...)
			}
		}
	}
	return all
}

func ofPair(cert, key string) []*Dates {
	if cert == "" || key == "" {
		return nil
	}
	return []*Dates{{Key: "cert", File: cert, files: []string{cert, key}, read: func() ([]*x509.Certificate, error) {
		pair, err := loadPair(cert, key)
		if err != nil {
			return nil, err
		}
		return []*x509.Certificate{pair.Leaf}, nil
	}}}
}

func ofPool(key, file string) []*Dates {
	if file == "" {
		return nil
	}
	return []*Dates{{Key: key, File: file, files: []string{file}, read: func() ([]*x509.Certificate, error) {
		_, all, err := loadPool(file)
		return all, err
	}}}
}

// Look returns an error if what is in use is out of date: of a pair the certificate, of authorities all of
// them, as old ones stay beside their successors. Files that have changed are read again; where they
// cannot be used, what they held before stays in use.
func (d *Dates) Look(now time.Time) error {
	if stamps := stampFiles(d.files); d.stamps == nil || d.Key != readOnce && !slices.Equal(stamps, d.stamps) {
		d.stamps = stamps
		if in, err := d.read(); err == nil {
			d.in = in
		}
	}
	for _, c := range d.in {
		if inDate(d.File, c, now) == nil {
			return nil
		}
	}
	if len(d.in) == 0 {
		return nil
	}
	err := inDate(d.File, d.in[0], now)
	if d.Key == readOnce {
		return fmt.Errorf("%w, and reload", err)
	}
	return err
}

// Until returns when what Look has found in use goes out of date: of authorities, the last of them;
// zero where there is nothing that can be used.
func (d *Dates) Until() (end time.Time) {
	for _, c := range d.in {
		if c.NotAfter.After(end) {
			end = c.NotAfter
		}
	}
	return end
}

// ReadOnce returns what changes when a file of options does that a part made of them does not read again.
func ReadOnce(options any) string {
	h := sha256.New()
	for _, d := range DatesOf(options) {
		if d.Key == readOnce {
			text, _ := readFile(d.File) // one that cannot be read is reported elsewhere
			h.Write(text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
