package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/internal/relp"
	"github.com/runnel-log/runnel/internal/syslog"
	"github.com/runnel-log/runnel/record"
)

// longest is how long a message, or a body, may be that a receiver takes.
const longest = 16 << 20

// Receiver takes what a relay delivers, and acknowledges it where the protocol
// does. What it answers for it has noted before.
type Receiver struct {
	arrived *Arrived
	l       net.Listener
	url     string
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil: it is closing
}

// Listen takes what comes at
//
//	tcp://HOST:PORT, unix:///PATH   syslog, both framings
//	relp://HOST:PORT                RELP, and relp+unix:///PATH
//	http://HOST:PORT                bodies of any form
//
// into a, until Close. Port 0 is a free one.
func Listen(at string, a *Arrived) (*Receiver, error) {
	scheme, address, _ := strings.Cut(at, "://")
	serve := map[string]func(*Receiver, net.Conn){"tcp": (*Receiver).syslog, "unix": (*Receiver).syslog, "relp": (*Receiver).relp, "relp+unix": (*Receiver).relp, "http": nil}
	f, ok := serve[scheme]
	if !ok {
		return nil, fmt.Errorf("%q is no address to receive at; tcp, unix, relp and http are", at)
	}
	network := "tcp"
	if strings.HasSuffix(scheme, "unix") {
		network = "unix"
		if info, err := os.Lstat(address); err == nil && info.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(address) // of one that was killed
		}
	}
	l, err := net.Listen(network, strings.TrimSuffix(address, "/"))
	if err != nil {
		return nil, err
	}
	r := &Receiver{arrived: a, l: l, url: scheme + "://" + l.Addr().String(), conns: map[net.Conn]bool{}}
	if scheme == "http" {
		r.serving.Go(func() {
			s := &http.Server{Handler: r, ReadHeaderTimeout: silence}
			_ = s.Serve(l) // until the listener is closed
			_ = s.Close()  // what is under way has no answer
		})
		return r, nil
	}
	r.serving.Go(func() { r.runAccept(f) })
	return r, nil
}

// URL is where it listens, with the port that was really taken.
func (r *Receiver) URL() string { return r.url }

// Close ends all connections, and returns when nothing more can arrive.
func (r *Receiver) Close() error {
	err := r.l.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close() // its serving ends
	}
	r.conns = nil
	r.mu.Unlock()
	r.serving.Wait()
	return err
}

func (r *Receiver) runAccept(serve func(*Receiver, net.Conn)) {
	for {
		c, err := r.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files, most likely
			wait(context.Background(), 10*time.Millisecond)
			continue
		}
		r.mu.Lock()
		if r.conns == nil {
			r.mu.Unlock()
			_ = c.Close() // it came too late
			return
		}
		r.conns[c] = true
		r.mu.Unlock()
		r.serving.Go(func() {
			serve(r, c)
			_ = c.Close() // read to its end
			r.mu.Lock()
			delete(r.conns, c)
			r.mu.Unlock()
		})
	}
}

// syslog takes lines and counted frames. What a connection ends in the middle
// of was not delivered, and is left out.
func (r *Receiver) syslog(c net.Conn) {
	f := syslog.NewFramer(c, longest)
	for {
		frame, flags, err := f.Next()
		if err != nil {
			return
		}
		if flags&record.Partial == 0 {
			r.arrived.Take(frame)
		}
	}
}

// relp answers every message once it is noted.
func (r *Receiver) relp(c net.Conn) {
	in := relp.NewReader(c)
	in.Allow(longest, longest)
	var out []byte
	for {
		f, ok, err := in.Take()
		if err != nil {
			return
		}
		if !ok {
			if _, err := c.Write(out); err != nil {
				return
			}
			out = out[:0]
			if in.Fill() != nil {
				return
			}
			continue
		}
		switch string(f.Command) {
		case relp.Open:
			o := relp.Offers{Software: []string{"oracle"}, Commands: []string{relp.Syslog}}
			if offered, err := relp.ParseOffers(f.Data); err == nil {
				o.Version = min(offered.Version, relp.MaxVersion)
			}
			out = relp.AppendOpened(out, f.Txnr, &o)
		case relp.Syslog:
			r.arrived.Take(f.Data)
			out = relp.AppendOK(out, f.Txnr)
		case relp.Close:
			_, _ = c.Write(relp.AppendOK(out, f.Txnr)) // it is over either way
			return
		}
	}
}

// ServeHTTP takes a body whatever it is written in.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, longest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if len(body) > 0 {
		r.arrived.Take(body)
	}
}
