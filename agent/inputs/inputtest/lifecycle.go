package inputtest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/internal/listen"
)

// stopTime is what an input may take to stop with nothing to do.
const stopTime = 3 * time.Second

// section writes the config of an input that listens on all addresses.
func section(addresses []string) string {
	text := "listen: [" + strings.Join(addresses, ", ") + "]\n"
	if strings.Contains(text, "tls://") {
		text += "tls: {cert: server.pem, key: server.key}\n"
	}
	return text
}

// Say sends one record with that message over a connection that may have said
// others, and reads what the input answers, if it does.
type Say func(t testing.TB, c net.Conn, message string) error

// SayLine says a line of syslog, which nobody answers.
func SayLine(_ testing.TB, c net.Conn, message string) error {
	_, err := c.Write([]byte("<13>1 - - - - - - " + message + "\n"))
	return err
}

// Strangers is the case of Lifecycle that shows an input all that is no certificate, for a kind
// that no other of its cases can speak to over TLS.
func Strangers(t *testing.T, kind inputs.Kind, say Say) { strangers(t, kind, say) }

// Lifecycle runs the lifecycle cases of Run for a kind that say can speak to.
func Lifecycle(t *testing.T, kind inputs.Kind, say Say, addresses ...string) {
	t.Run("lifecycle", func(t *testing.T) { lifecycle(t, kind, say, addresses) })
	for _, address := range addresses {
		scheme, _, _ := strings.Cut(address, "://")
		switch scheme {
		case "tls":
			t.Run("strangers", func(t *testing.T) { strangers(t, kind, say) })
		case "tcp", "unix":
			t.Run("silence over "+scheme, func(t *testing.T) { silence(t, kind, say, address) })
		}
	}
}

func lifecycle(t *testing.T, kind inputs.Kind, say Say, addresses []string) {
	dir, text := Dir(t, section(addresses))
	t.Run("stops without work to do", func(t *testing.T) {
		r := Start(t, kind, dir, text, Setup{})
		began := time.Now()
		r.Stop(t)
		if took := time.Since(began); took > stopTime {
			t.Errorf("Run returned after %s, want at most %s", took, stopTime)
		}
	})
	t.Run("an ended context only gives the sockets back", func(t *testing.T) {
		sockets := listen.NewSockets()
		defer sockets.Close()
		in, err := kind.New(Options(t, kind, dir, text), setup(sockets))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := in.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		sockets.Sweep()
		Start(t, kind, dir, text, Setup{}) // the addresses are free, also those of files
	})
	t.Run("status names every address", func(t *testing.T) {
		r := Start(t, kind, dir, text, Setup{})
		status := r.Input.Status()
		if len(status) != len(addresses) {
			t.Fatalf("got %d listeners, want %d", len(status), len(addresses))
		}
		for i, l := range status {
			a, err := listen.Parse(l.URL)
			if err != nil || !a.IsUnix() && a.Port == 0 || !strings.HasPrefix(l.URL, a.Scheme+"://") {
				t.Errorf("listener %d is %q, want the address as it was taken: %v", i, l.URL, err)
			}
		}
	})
	t.Run("an address in use is an error of New", func(t *testing.T) {
		r := Start(t, kind, dir, text, Setup{})
		for i := range addresses {
			other := listen.NewSockets()
			o := Options(t, kind, dir, section([]string{r.URL(i)}))
			_, err := kind.New(o, setup(other))
			if err == nil || !strings.Contains(err.Error(), "address already in use; ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got %v, want one line with \"address already in use; \"", r.URL(i), err)
			}
			other.Close()
		}
	})
	t.Run("retire serves open connections and ends with them", func(t *testing.T) { retire(t, kind, say, dir, text, addresses) })
	t.Run("a failing pipeline does not end the input", func(t *testing.T) {
		r := Start(t, kind, dir, text, Setup{})
		r.Sink.Refuse(errors.New("the store has failed"))
		say(t, Dial(t, r.URL(0), dir), "lost") //nolint:errcheck // the input may close the connection
		r.Stop(t)
	})
}

// setup is what an input needs that is not to run.
func setup(sockets *listen.Sockets) inputs.Setup {
	sink := NewSink()
	return inputs.Setup{Name: "in", Emit: sink.Emit, Relay: sink.Relay, Memory: new(inputs.Memory), Marks: sink.Marks, Sockets: sockets, Metrics: metrics.NewSet()}
}

func retire(t *testing.T, kind inputs.Kind, say Say, dir, text string, addresses []string) {
	r := Start(t, kind, dir, text, Setup{})
	first := -1
	for i, url := range addresses {
		if a, _ := listen.Parse(url); !a.IsPacket() {
			first = i
			break
		}
	}
	if first < 0 {
		r.Input.Retire()
		r.Wait(t)
		return
	}
	c := Dial(t, r.URL(first), dir)
	if err := say(t, c, "kept"); err != nil {
		t.Fatal(err)
	}
	r.Sink.Wait(t, 1)
	r.Input.Retire()
	next := Start(t, kind, dir, text, Setup{Sockets: r.Sockets, Memory: r.Memory})
	if got, want := next.URL(first), r.URL(first); got != want {
		t.Errorf("the next input listens on %s, want %s", got, want)
	}
	if err := say(t, c, "kept"); err != nil {
		t.Fatalf("an open connection after Retire: %v", err)
	}
	r.Sink.Wait(t, 2)
	d := Dial(t, next.URL(first), dir)
	if err := say(t, d, "kept"); err != nil {
		t.Fatal(err)
	}
	next.Sink.Wait(t, 1)
	c.Close()
	r.Wait(t) // without being cancelled
	if got := r.Sink.Len(); got != 2 {
		t.Errorf("the retired input took %d records, want 2", got)
	}
}
