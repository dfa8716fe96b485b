package relp

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/forwardertest"
	"github.com/runnel-log/runnel/internal/config"
)

func options(to string, change func(o *Options)) *Options {
	o := defaults()
	o.To = to
	if change != nil {
		change(o)
	}
	return o
}

func TestKeepsTheContract(t *testing.T) {
	f := func(name string, change func(o *Options)) {
		t.Run(name, func(t *testing.T) {
			forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
				s := startServer(t, "tcp", "127.0.0.1:0", nil)
				r := s.receiver(t, options("tcp://"+s.address, change))
				r.Named = func(host string) config.Options {
					return options("tcp://"+strings.Replace(s.address, "127.0.0.1", host, 1), change)
				}
				return r
			})
		})
	}
	f("tcp", nil)
	f("window of 1", func(o *Options) { o.Window = 1 })
	f("window of 10", func(o *Options) { o.Window = 10 })
	f("rfc3164", func(o *Options) { o.Format = forwarders.RFC3164 })
	f("json", func(o *Options) { o.Message = forwarders.MessageJSON })
	t.Run("unix", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			s := startServer(t, "unix", filepath.Join(t.TempDir(), "relp.sock"), nil)
			return s.receiver(t, options("unix://"+s.address, nil))
		})
	})
	t.Run("tls", func(t *testing.T) {
		forwardertest.Run(t, Kind, func(t *testing.T) *forwardertest.Receiver {
			shown := forwardertest.NewShown(t)
			s := startServer(t, "tcp", "127.0.0.1:0", shown.Config())
			r := s.receiver(t, options("tls://"+s.address, func(o *Options) { o.TLS.CA = shown.CA.File }))
			r.Shown = shown
			return r
		})
	})
}
