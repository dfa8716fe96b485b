package relay

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/internal/tiers"
)

// lines is a log that several write.
type lines struct {
	sync.Mutex
	bytes.Buffer // guarded by it
}

func (l *lines) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(p)
}

// An agent that calls itself otherwise than its certificate does is taken, and told of once.
func TestAgentCalledOtherwiseThanItsCertificate(t *testing.T) {
	var log lines
	a, all := newAgents(t), tiers.New(relaywire.Hop{Agent: inputtest.AgentID, Name: "x"})
	r := inputtest.Start(t, Kind, a.dir, a.section, inputtest.Setup{Tiers: all, Log: zerolog.New(&log)})
	f := func(w relaywire.Writer, certificate string, said int) {
		t.Helper()
		hears[*relaywire.Welcome](a.dial(r, a.certificate(certificate), w)) // as vm
		log.Lock()
		defer log.Unlock()
		if n := strings.Count(log.String(), `"message":"an agent below goes by another name than its certificate gives it"`); n != said {
			t.Errorf("%s: the log says it %d times, want %d", certificate, n, said)
		}
	}
	one := relaywire.Writer{Agent: relaywire.Agent{1}, Epoch: 1}
	f(one, "runnel://agent/db", 1)
	f(one, "runnel://agent/db", 1) // come again
	f(relaywire.Writer{Agent: relaywire.Agent{2}, Epoch: 1}, "vm.example.com", 1)
	for _, b := range all.Below() {
		if want := map[byte]string{1: "db", 2: "vm.example.com"}[b.Agent[0]]; b.Name != "vm" || b.Identity != want {
			t.Errorf("it is %+v, want it to be %s by its certificate", b, want)
		}
	}
}
