package query

import (
	"fmt"
	"io"
)

// Loss is how many records of a stream met one fate that is no delivery.
type Loss struct {
	Stream  string
	Reason  string // damaged, lost, full, expired, dead or skipped
	Records uint64
}

// Losses returns every stream's losses as the ledger has them, those of which there
// are none too. What expired, is dead or was skipped is so for some forwarder, and
// may well be in the store.
func (a *Audit) Losses() (all []Loss) {
	dead, skipped := make(map[string]uint64), make(map[string]uint64)
	for i := range a.Forwarders {
		f := &a.Forwarders[i]
		dead[f.Stream] += a.StillDead(f)
		skipped[f.Stream] += f.Skipped
	}
	for i := range a.Streams {
		s := &a.Streams[i]
		all = append(all, Loss{s.Name, "damaged", s.Damaged}, Loss{s.Name, "lost", s.Lost}, Loss{s.Name, "full", s.Dropped + s.Uncommitted},
			Loss{s.Name, "expired", s.Expired}, Loss{s.Name, "dead", dead[s.Name]}, Loss{s.Name, "skipped", skipped[s.Name]})
	}
	return all
}

// StillDead returns how many dead letters of a forwarder in a stream its receiver has
// not taken since. What was refused once more in a redrive is one of them all along.
func (a *Audit) StillDead(f *ForwarderAudit) uint64 {
	if f.Redrive {
		return 0
	}
	for i := range a.Forwarders {
		if again := &a.Forwarders[i]; again.Redrive && again.Name == f.Name && again.Stream == f.Stream+".dead" {
			return f.Dead - min(f.Dead, again.Redriven)
		}
	}
	return f.Dead
}

// writeLosses writes them for Prometheus. They are of the ledger, so a restart does
// not begin them anew.
func writeLosses(w io.Writer, a *Audit) {
	for _, l := range a.Losses() {
		fmt.Fprintf(w, "runnel_audit_lost_records{stream=%q,reason=%q} %d\n", l.Stream, l.Reason, l.Records) //nolint:errcheck // into memory
	}
}
