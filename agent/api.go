package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/runnel-log/runnel/internal/plainfile"
	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"

	"github.com/runnel-log/runnel/agent/query"
)

// unixScheme marks an API address that is a unix socket.
const unixScheme = "unix://"

// listenAPI opens the API's socket: HOST:PORT or unix:///PATH. A unix socket
// that a dead agent left behind is replaced.
func listenAPI(address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, unixScheme)
	if !unix {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%w; choose another api.listen, or stop what listens there", err)
		}
		return l, nil
	}
	if c, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("listen unix %s: somebody answers there already", path), c.Close())
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("listen unix %s: the file exists and is no socket; remove it or choose another path", path)
	default:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// apiURL is what a user gives to --api.
func apiURL(c *Config, l net.Listener) string {
	switch {
	case l.Addr().Network() == "unix":
		return c.API.Listen
	case c.API.TLS != nil:
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// tokenFile is where the first start writes a random token, in the data directory.
const tokenFile = "token"

// maxToken is more than any token has.
const maxToken = 64 << 10

// loadToken returns the configured token, or the one in the data directory,
// made if it is not there.
func loadToken(c *Config) (string, error) {
	if c.API.Token != (noSecret) {
		return c.API.Token.Read()
	}
	path := filepath.Join(c.DataDir, tokenFile)
	b, err := plainfile.Read(path, maxToken)
	if err == nil {
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o137 != 0 {
			return "", fmt.Errorf("token in %s is no file that only its owner may change and its group may read; chmod 0600 it, or delete it to have one made", path)
		}
		if token := strings.TrimSpace(string(b)); token != "" {
			return token, nil
		}
		return "", fmt.Errorf("token in %s is empty; delete the file to have one made", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("token in %s: %w", path, err)
	}
	token := make([]byte, 32)
	rand.Read(token) //nolint:errcheck // never fails
	text := hex.EncodeToString(token)
	return text, writeToken(path, text)
}

// writeToken puts a token in place at once: a file without one, left by a kill in
// between, would keep the next start from taking place.
func writeToken(path, text string) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// source shows the store to the API.
type source struct{ *storage.Store }

func (s source) Streams() []query.Stream {
	infos := s.Store.Streams()
	streams := make([]query.Stream, len(infos))
	for i, in := range infos {
		streams[i] = query.Stream{Name: in.Name, First: in.First, Next: in.Next, Records: in.Records, Bytes: in.Bytes, RawBytes: in.RawBytes,
			OldestReceived: in.OldestReceived, NewestReceived: in.NewestReceived}
	}
	return streams
}

func (s source) Head(stream string, at uint64) (query.Head, bool) {
	h, ok := s.Store.Head(stream, at)
	return query.Head{First: h.First, Next: h.Next, MinTime: h.MinTime, MaxTime: h.MaxTime,
		MinReceived: h.MinReceived, MaxReceived: h.MaxReceived, Bytes: h.Bytes}, ok
}

func (s source) Read(stream string, at uint64, b *record.Batch) (uint64, uint32, error) {
	return s.Store.ReadBlock(stream, at, b)
}
