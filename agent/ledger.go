package agent

import (
	"encoding/binary"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/runnel-log/runnel/storage"
)

// The ledger is one book for each pipeline, one for what forwarders give up,
// and one for what the streams held when it began. A book is counts that the store
// commits in the transaction of what they count (docs/format/storage.md "Ledger").

// count names one number of a book.
type count struct {
	kind         byte
	name, detail string
}

// The kinds of counts. Of a pipeline:
//
//	received + emitted + brought = stored + dropped + full + held + left
//
// and of a module in it:
//
//	in + emitted + brought = out + dead + dropped + held
const (
	countReceived = 'r' // name: input
	countEmitted  = 'e' // name: module
	countBrought  = 'b' // name: module; it held them already when the book began. No name: from a module that left
	countStored   = 's' // name: stream
	countDropped  = 'd' // name: reason; detail: module, or nothing
	countFull     = 'f' // name: stream; of those dropped: it was full, or the disk
	countHeld     = 'h' // name: module
	countLeft     = 'w' // name: module; what it held when it left, and which then was brought to a pipeline
	countIn       = 'i' // name: module
	countOut      = 'o' // name: module
	countDead     = 'x' // name: module
	countBegan    = 't' // when the book began: nanoseconds since 1970 UTC
	countFork     = 'E' // of the store, when the streams were last put in order
	countEarlier  = 'a' // name: stream; records that were there before the ledger
	countLost     = 'l' // name: stream; records that were stored and are lost to damage
)

// Of a redrive, in the forwarders' book; name: forwarder, detail: stream of dead letters.
const (
	countRedriveStart    = 'S' // the offset where it began
	countRedriveNext     = 'N' // the offset it has come to
	countRedriveUntil    = 'U' // the offset it goes to
	countRedriven        = 'R' // acknowledged by the receiver
	countRedriveAgain    = 'A' // refused again
	countRedriveOthers   = 'O' // not refused by this forwarder
	countRedriveExpired  = 'X' // taken by retention first
	countRedriveDamaged  = 'D' // could not be read any more
	countRedriveSkipped  = 'K' // left out, as somebody wanted to begin behind them
	countRedriveRewound  = 'W' // gone back over, as somebody wanted to begin before them
	countRedriveRepeated = 'P' // of those redriven: offered before in this run of the agent
)

// Keys of the books.
const (
	bookPipeline   = "pipeline\x00" // and the pipeline's name
	bookForwarders = "forwarders"
	bookStreams    = "streams"
)

// book is one account. What is in it belongs to the store's lock once it is in
// use: only a Posting may touch it.
type book struct {
	account storage.Account
	at      map[count]int
	counts  []count
	numbers []uint64
	reasons int
	full    fullCounts
}

// fullCounts are the book's countFull by stream, for those who may not touch it:
// while the disk takes nothing, what is dropped is nowhere else.
type fullCounts struct {
	mu sync.Mutex
	of map[string]uint64 // guarded by mu
}

func (f *fullCounts) add(stream string, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[string]uint64)
	}
	f.of[strings.Clone(stream)] += n
}

func (f *fullCounts) copy() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.of)
}

// openBook reads a book from the store; one that is not there begins now.
func openBook(store *storage.Store, key string) (*book, error) {
	b := &book{at: make(map[count]int)}
	b.account.Key, b.account.Encode = key, b.encode
	value := store.Account(key)
	err := parseBook(value, b.add)
	if b.at == nil || len(b.counts) == 0 {
		b.add(count{kind: countBegan}, uint64(time.Now().UnixNano()))
	}
	return b, err
}

// newBook returns one that nobody stores.
func newBook(key string) *book {
	b := &book{at: make(map[count]int)}
	b.account.Key, b.account.Encode = key, b.encode
	b.add(count{kind: countBegan}, uint64(time.Now().UnixNano()))
	return b
}

// add adds to one number; one that falls is added its complement.
func (b *book) add(c count, n uint64) {
	i, ok := b.at[c]
	if !ok {
		if n == 0 {
			return
		}
		if c.kind == countDropped {
			if b.reasons++; b.reasons > maxReasons && c.name != otherReason {
				b.add(count{countDropped, otherReason, c.detail}, n)
				return
			}
		}
		c.name, c.detail = strings.Clone(c.name), strings.Clone(c.detail)
		i = len(b.counts)
		b.at[c] = i
		b.counts, b.numbers = append(b.counts, c), append(b.numbers, 0)
	}
	b.numbers[i] += n
	if c.kind == countFull && n > 0 {
		b.full.add(c.name, n)
	}
}

func (b *book) get(c count) uint64 {
	if i, ok := b.at[c]; ok {
		return b.numbers[i]
	}
	return 0
}

// set makes one number n.
func (b *book) set(c count, n uint64) { b.add(c, n-b.get(c)) }

// maxName bounds what of a name a book keeps: a length of 16 bits must hold it.
const maxName = 1 << 10

func (b *book) encode() []byte {
	size := 0
	for i := range b.counts {
		size += 13 + len(b.counts[i].name) + len(b.counts[i].detail)
	}
	value := make([]byte, 0, size)
	for i := range b.counts {
		c := &b.counts[i]
		value = append(value, c.kind)
		for _, text := range []string{c.name, c.detail} {
			text = text[:min(len(text), maxName)]
			value = binary.LittleEndian.AppendUint16(value, uint16(len(text)))
			value = append(value, text...)
		}
		value = binary.LittleEndian.AppendUint64(value, b.numbers[i])
	}
	return value
}

var errBook = errors.New("damaged book")

// parseBook calls f with every count of an encoded book.
func parseBook(value []byte, f func(c count, n uint64)) error {
	text := func() (string, bool) {
		if len(value) < 2 {
			return "", false
		}
		n := int(binary.LittleEndian.Uint16(value))
		if len(value) < 2+n {
			return "", false
		}
		t := string(value[2 : 2+n])
		value = value[2+n:]
		return t, true
	}
	for len(value) > 0 {
		c := count{kind: value[0]}
		value = value[1:]
		var ok1, ok2 bool
		c.name, ok1 = text()
		c.detail, ok2 = text()
		if !ok1 || !ok2 || len(value) < 8 {
			return errBook
		}
		f(c, binary.LittleEndian.Uint64(value))
		value = value[8:]
	}
	return nil
}
