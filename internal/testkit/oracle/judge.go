package oracle

import (
	"fmt"
	"io"
)

// Verdict is what became of a run's records. Only Lost breaks a relay's word; what
// the others are worth is the protocol's.
type Verdict struct {
	Run          string `json:"run"`
	Sent         uint64 `json:"sent"`         // records, each once
	Again        uint64 `json:"again"`        // how often one was sent again, for want of an answer
	Acknowledged uint64 `json:"acknowledged"` // records
	Arrived      uint64 `json:"arrived"`      // records, each once
	Unanswered   uint64 `json:"unanswered"`   // of those that arrived: had no answer to the end
	Lost         uint64 `json:"lost"`         // acknowledged, and not there
	Repeated     uint64 `json:"repeated"`     // came again, and had been sent again: what the protocol's window explains
	Duplicated   uint64 `json:"duplicated"`   // came more often than they were sent: the relay's own doing
	Disordered   uint64 `json:"disordered"`   // came for the first time, behind a later one of the same sender
	Altered      uint64 `json:"altered"`      // came with another text than was sent; none of the above
	Another      uint64 `json:"another"`      // came, of another run: an earlier one's that the relay still had
	Unknown      uint64 `json:"unknown"`      // came, and no run has sent them
	Losses       []Loss `json:"losses,omitempty"`
}

// Loss is lost numbers of one sender, from From to To, both included.
type Loss struct {
	Sender int    `json:"sender"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
}

// maxLosses bounds those that a verdict names.
const maxLosses = 20

// Judge compares what was sent with what of that run arrived.
func Judge(s *Sent, a *Arrived) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	v := Verdict{Run: s.run, Altered: a.altered, Unknown: a.unknown}
	came := &run{}
	for name, r := range a.runs {
		if name == s.run {
			came = r
		} else {
			v.Another += r.records
		}
	}
	v.Disordered = came.disorder
	for sender := range max(len(s.counts), len(came.counts)) {
		n := 0
		for _, c := range []counts{s.counts, came.counts} {
			if sender < len(c) {
				n = max(n, len(c[sender]))
			}
		}
		for number := range uint64(n) {
			v.judge(sender, number, s.counts.get(sender, number), uint64(came.counts.get(sender, number)))
		}
	}
	return v
}

// judge adds one number.
func (v *Verdict) judge(sender int, number uint64, sent uint8, came uint64) {
	acked, times := sent&flag != 0, uint64(sent&most)
	if times == 0 {
		v.Unknown += came // nobody has sent it
		return
	}
	v.Sent++
	v.Again += times - 1
	if acked {
		v.Acknowledged++
	}
	switch {
	case came > 0:
		v.Arrived++
		v.Repeated += min(came, times) - 1
		v.Duplicated += came - min(came, times)
		if !acked {
			v.Unanswered++
		}
	case acked:
		v.lose(sender, number)
	}
}

func (v *Verdict) lose(sender int, number uint64) {
	v.Lost++
	if n := len(v.Losses); n > 0 && v.Losses[n-1].Sender == sender && v.Losses[n-1].To+1 == number {
		v.Losses[n-1].To++
	} else if n < maxLosses {
		v.Losses = append(v.Losses, Loss{sender, number, number})
	}
}

// Write writes the verdict for people.
func (v *Verdict) Write(w io.Writer) {
	fmt.Fprintf(w, "sent          %9d records, and %d again for want of an answer\n", v.Sent, v.Again)
	fmt.Fprintf(w, "acknowledged  %9d\n", v.Acknowledged)
	fmt.Fprintf(w, "arrived       %9d, %d of them never acknowledged\n", v.Arrived, v.Unanswered)
	fmt.Fprintf(w, "lost          %9d acknowledged and not there\n", v.Lost)
	fmt.Fprintf(w, "repeated      %9d came again that had been sent again\n", v.Repeated)
	fmt.Fprintf(w, "duplicated    %9d came more often than they were sent\n", v.Duplicated)
	fmt.Fprintf(w, "out of order  %9d behind a later one of the same sender\n", v.Disordered)
	fmt.Fprintf(w, "altered       %9d\n", v.Altered)
	fmt.Fprintf(w, "of another run %8d\n", v.Another)
	fmt.Fprintf(w, "unknown       %9d sent by no run\n", v.Unknown)
	more := v.Lost
	for _, l := range v.Losses {
		fmt.Fprintf(w, "  lost: sender %d, %d to %d\n", l.Sender, l.From, l.To)
		more -= l.To - l.From + 1
	}
	if more > 0 && len(v.Losses) > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}
