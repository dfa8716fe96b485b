package relay

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runnel-log/runnel/agent/inputs/inputtest"
	"github.com/runnel-log/runnel/internal/relaywire"
	"github.com/runnel-log/runnel/record"
)

// client is a sender that a test leads.
type client struct {
	testing.TB
	net.Conn
	reader *relaywire.Reader
	writer relaywire.Writer
	name   string
	number uint64
	over   []*relaywire.Ended // heard while something else was waited for
}

var host = relaywire.Writer{Agent: relaywire.Agent{7, 7}, Epoch: 70}

// forever is the part of a line that is all that is to come.
var forever = relaywire.Ranges{{From: 1, To: math.MaxUint64}}

func newClient(t testing.TB, c net.Conn, w relaywire.Writer) *client {
	_ = c.SetDeadline(time.Now().Add(inputtest.Patience)) // the test's own bound
	return &client{TB: t, Conn: c, reader: relaywire.NewReader(c), writer: w, name: "vm"}
}

// dial connects, and says hello.
func dial(t testing.TB, r *inputtest.Running, w relaywire.Writer) *client {
	t.Helper()
	c := newClient(t, inputtest.Dial(t, r.URL(0), ""), w)
	c.hello()
	return c
}

func (c *client) say(m relaywire.Message) {
	c.Helper()
	if _, err := c.Write(relaywire.Append(nil, m)); err != nil {
		c.Fatalf("write %T: %v", m, err)
	}
}

func (c *client) hello() *relaywire.Welcome {
	c.Helper()
	c.say(&relaywire.Hello{Writer: c.writer, Versions: [2]uint16{1, 1}, Name: c.name, Build: "test"})
	return hears[*relaywire.Welcome](c)
}

// hears returns the next message, which must be of a kind.
func hears[M relaywire.Message](c *client) M {
	c.Helper()
	m, err := c.reader.Next()
	if err != nil {
		c.Fatalf("waiting for a %T: %v", *new(M), err)
	}
	got, ok := m.(M)
	if ended, is := m.(*relaywire.Ended); is && !ok { // of it a sender may hear at any time
		c.over = append(c.over, ended)
		return hears[M](c)
	}
	if !ok {
		c.Fatalf("got %T %+v, want %T", m, m, *new(M))
	}
	return got
}

func (c *client) ask(stream string, parts relaywire.Ranges) *relaywire.Tell {
	c.Helper()
	c.say(&relaywire.Ask{Stream: stream, Epoch: c.writer.Epoch, Parts: parts})
	return hears[*relaywire.Tell](c)
}

// acked waits until a frame is acknowledged.
func (c *client) acked(number uint64) {
	c.Helper()
	for {
		if got := hears[*relaywire.Ack](c).Number; got == number {
			return
		} else if got > number {
			c.Fatalf("frame %d is acknowledged where %d is due", got, number)
		}
	}
}

// refused waits for a refusal.
func (c *client) refused(code relaywire.Code) string {
	c.Helper()
	n := hears[*relaywire.Nack](c)
	if n.Code != code {
		c.Errorf("got %v, want %v", n, code)
	}
	c.ends()
	return n.Text
}

// ends waits for the connection's end, before which nothing is acknowledged.
func (c *client) ends() {
	c.Helper()
	for {
		m, err := c.reader.Next()
		var timeout net.Error
		switch {
		case err == nil:
			switch m := m.(type) {
			case *relaywire.Ack:
				c.Errorf("got %+v", m)
			case *relaywire.Ended:
				c.over = append(c.over, m)
			}
			continue
		case errors.As(err, &timeout) && timeout.Timeout():
			c.Errorf("the connection is still open")
		case !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
			c.Logf("the connection ended with %v", err)
		}
		return
	}
}

// texts returns numbered messages from one number to another, exclusive.
func texts(from, to uint64) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// batch returns records of those texts; change may be nil.
func batch(texts []string, change func(i int, r *record.Record)) *record.Batch {
	b := new(record.Batch)
	for i, text := range texts {
		var r record.Record
		r.Reset()
		r.Message = []byte(text)
		if change != nil {
			change(i, &r)
		}
		if err := b.Append(&r); err != nil {
			panic(err)
		}
	}
	return b
}

// frame returns the next frame: the records of b at from and behind.
func (c *client) frame(stream string, from uint64, b *record.Batch) *relaywire.Data {
	c.number++
	d := &relaywire.Data{Number: c.number, Part: relaywire.Part{Line: relaywire.Line{Writer: c.writer, Stream: stream}, Range: relaywire.Range{From: from, To: from + uint64(b.Len())}}}
	fill(d, b)
	return d
}

// fill has a frame carry b at all of its offsets.
func fill(d *relaywire.Data, b *record.Batch) {
	d.Offsets = relaywire.Ranges{d.Range}
	d.Payload, d.Raw = s2.Encode(nil, b.Bytes()), uint32(b.Size())
	d.Sum = relaywire.Sum(d.To-1, b.At(b.Len()-1))
}

// send sends numbered messages from one offset to another, exclusive.
func (c *client) send(stream string, from, to uint64) {
	c.Helper()
	c.say(c.frame(stream, from, batch(texts(from, to), nil)))
}

// speaker says one record a time, over any connections, as the suite of inputs wants it. Each
// connection is another agent's.
func speaker() inputtest.Say {
	clients := map[net.Conn]*client{}
	next := map[net.Conn]uint64{}
	return func(t testing.TB, conn net.Conn, message string) error {
		c := clients[conn]
		if c == nil {
			c = newClient(t, conn, relaywire.Writer{Agent: relaywire.Agent{9, byte(len(clients)), byte(len(clients) >> 8)}, Epoch: 1})
			clients[conn], next[conn] = c, 1
			if err := c.try(&relaywire.Hello{Writer: c.writer, Versions: [2]uint16{1, 1}, Name: c.name}); err != nil {
				return err
			}
			if err := c.try(&relaywire.Ask{Stream: "app", Epoch: c.writer.Epoch, Parts: forever}); err != nil {
				return err
			}
		}
		at := next[conn]
		next[conn]++
		return c.try(c.frame("app", at, batch([]string{message}, nil)))
	}
}

// try says m and hears the answer.
func (c *client) try(m relaywire.Message) error {
	if _, err := c.Write(relaywire.Append(nil, m)); err != nil {
		return err
	}
	answer, err := c.reader.Next()
	if err != nil {
		return err
	}
	if n, refused := answer.(*relaywire.Nack); refused {
		return n
	}
	return nil
}
