package oracle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A journal is what an oracle keeps on disk: lines of a word, a sender and the
// first and last of the numbers it is said of. All are of the run named last.
//
//	run 5f3a09c1
//	sent 0 0 127
//	acked 0 0 99
//	arrived 0 0 127
//	altered 1
//	unknown 1
//
// What is written is with the kernel before the call returns, so it outlives
// the oracle, though not the host.
type journal struct {
	file *os.File // nil: nothing is kept
	err  error    // the first
}

func newJournal(path string) (journal, error) {
	if path == "" {
		return journal{}, nil
	}
	f, err := os.Create(path)
	return journal{file: f}, err
}

func (j *journal) write(format string, args ...any) {
	if j.file == nil || j.err != nil {
		return
	}
	_, j.err = fmt.Fprintf(j.file, format, args...)
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return errors.Join(j.err, j.file.Close())
}

// errJournal: a file is no journal.
var errJournal = errors.New("not a journal of an oracle")

// readJournal calls f with every line of a journal. A last line that was cut short
// is left out.
func readJournal(r io.Reader, f func(word, run string, sender int, from, to uint64)) error {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var sender int
		var from, to uint64
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		fields := 0
		switch word {
		case "run":
			f(word, rest, 0, 0, 0)
			continue
		case "altered", "unknown":
			fields, _ = fmt.Sscan(rest, &from)
			fields += 2
		case "sent", "acked", "arrived":
			fields, _ = fmt.Sscan(rest, &sender, &from, &to)
		}
		if fields != 3 || sender < 0 || sender > maxSenders || to > maxNumber || (fields == 3 && word != "altered" && word != "unknown" && to < from) {
			return fmt.Errorf("%w: line %d: %q", errJournal, n, line)
		}
		f(word, "", sender, from, to)
	}
}

// Bounds of what a journal, or a text that arrives, may say: memory is a byte a number.
const (
	maxSenders = 1 << 12
	maxNumber  = 1 << 32
)
