package http

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/record"
)

// Bounds of a connection and of a request.
const (
	// stopTime bounds Run after its ctx has ended.
	stopTime = 2 * time.Second
	// headerBytes is how large a request's header may be; net/http adds 4 KiB to that.
	headerBytes = 12 << 10
	// answerTime is how long a client may take to read an answer.
	answerTime = 10 * time.Second
	// maxRequests is how many requests one connection may make.
	maxRequests = 1000
	// maxKey is how long an Idempotency-Key may be.
	maxKey = 1 << 10
)

// connKey is where a request's context has its connection.
type connKey struct{}

// newServer makes the server of all doors. It speaks HTTP/1 alone: nothing that
// sends logs gains by another, and its bounds are those of one connection.
func (in *Input) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: in, ReadHeaderTimeout: in.options.times.header, IdleTimeout: in.options.times.idle, MaxHeaderBytes: headerBytes,
		ErrorLog: in.events.server(), Protocols: protocols, DisableGeneralOptionsHandler: true,
		ConnContext: connContext,
	}
}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// answer is what a client is told.
type answer struct {
	code     int
	accepted int
	why      string // of everything but 200 and 204
	after    int    // seconds to wait before the next try; 0: not said
	header   [2]string
	close    bool
}

func refusal(code int, why string) answer { return answer{code: code, why: why} }

// later is an answer to what may be tried again.
func later(seconds int, why string) answer {
	return answer{code: http.StatusServiceUnavailable, why: why, after: seconds}
}

// ServeHTTP answers one request.
func (in *Input) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	control := http.NewResponseController(w)
	// Also what is read after the answer: a client must not drip the rest of a body for ever.
	_ = control.SetReadDeadline(time.Now().Add(in.options.times.grace))  // fails on a closed connection only, and so do the others
	_ = control.SetWriteDeadline(time.Now().Add(in.options.times.grace)) // for the 100 that a client may wait for
	a := in.answer(c, r, control)
	c.requests++
	if a.close || c.requests >= maxRequests || in.retired.Load() {
		w.Header().Set("Connection", "close")
	}
	in.counters.requests(a.code).Inc()
	if a.code/100 == 4 {
		in.events.refused(c.door.url, string(c.who.Text), a.code, a.why)
	}
	_ = control.SetWriteDeadline(time.Now().Add(answerTime))
	a.write(w)
	if in.reached != nil && a.code == http.StatusOK {
		_ = control.Flush() // a client that has gone is as good as one that has its answer
		in.reached.At(inputs.Answered)
	}
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	h["Date"] = nil // nobody asks, and it costs
	if a.header[0] != "" {
		h.Set(a.header[0], a.header[1])
	}
	if a.after > 0 {
		h.Set("Retry-After", strconv.Itoa(a.after))
	}
	if a.code == http.StatusNoContent {
		w.WriteHeader(a.code)
		return
	}
	h.Set("Content-Type", "application/json")
	body := []byte(`{"accepted":` + strconv.Itoa(a.accepted) + "}\n")
	if a.code != http.StatusOK {
		why, _ := json.Marshal(a.why) // a string
		body = append(append([]byte(`{"error":`), why...), '}', '\n')
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.code)
	_, _ = w.Write(body) // a client that has gone asks again, if it cares
}

// answer does what a request asks.
func (in *Input) answer(c *conn, r *http.Request, control *http.ResponseController) answer {
	if a := in.admits(c, r); a.code != 0 {
		return a
	}
	what, how, a := formOf(r.Header)
	if a.code != 0 {
		return a
	}
	key, ok := keyOf(r.Header)
	switch {
	case !ok:
		return refusal(http.StatusBadRequest, "Idempotency-Key must be one header of 1 to 1024 bytes")
	case r.ContentLength > int64(in.options.MaxBody):
		return refusal(http.StatusRequestEntityTooLarge, errTooLarge.Error()+" of "+in.options.MaxBody.String())
	case in.stalled.Load() > 0:
		return later(5, "the store does not answer")
	}
	body, err := in.readBody(r, control.SetReadDeadline)
	if err != nil {
		body.release()
		return ofBody(err)
	}
	_ = control.SetReadDeadline(time.Time{}) // nothing more is awaited until the answer is given
	b, content, a := in.records(r.Context(), c, what, how, body)
	if a.code != 0 {
		return a
	}
	if key == "" {
		return in.store(c, b, nil)
	}
	return in.storeOnce(c, b, digestOf([]byte(in.credential(c)), []byte(key)), content)
}

// admits returns an answer without code if the request may be read.
func (in *Input) admits(c *conn, r *http.Request) answer {
	switch {
	case misdirected(c, r.Host):
		return refusal(http.StatusMisdirectedRequest, "this address serves localhost, not "+strconv.Quote(r.Host))
	case foreign(r):
		return refusal(http.StatusForbidden, "a page of another site may not write here")
	case r.URL.Path != "/" && r.URL.Path != "":
		return refusal(http.StatusNotFound, "there is nothing at "+strconv.Quote(r.URL.Path)+"; POST /")
	case r.Method != http.MethodPost:
		a := refusal(http.StatusMethodNotAllowed, "only POST is understood here")
		a.header = [2]string{"Allow", "POST"}
		return a
	}
	switch code := in.gate.enter(r.Header.Get("Authorization"), c.who); code {
	case http.StatusUnauthorized:
		a := refusal(code, "show the input's token: Authorization: Bearer TOKEN")
		a.header = [2]string{"WWW-Authenticate", "Bearer"}
		return a
	case http.StatusTooManyRequests:
		a := refusal(code, "too many wrong tokens")
		a.after = int(failureWindow / time.Second)
		return a
	}
	return answer{}
}

// formOf reads how a body is written.
func formOf(h http.Header) (media, packing, answer) {
	unknown := func(why string) (media, packing, answer) {
		return mediaNone, packNone, refusal(http.StatusUnsupportedMediaType, why)
	}
	how := packNone
	switch encoding := strings.Join(h.Values("Content-Encoding"), ","); strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
	case "gzip", "x-gzip":
		how = packGzip
	case "zstd":
		how = packZstd
	default:
		_, _, a := unknown("Content-Encoding " + strconv.Quote(encoding) + " is not understood; use gzip or zstd")
		a.header = [2]string{"Accept-Encoding", "gzip, zstd"}
		return mediaNone, packNone, a
	}
	name, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines":
		return mediaNDJSON, how, answer{}
	case "application/json":
		return mediaJSON, how, answer{}
	case "", "text/plain":
		return mediaText, how, answer{}
	case "application/syslog", "text/syslog":
		return mediaSyslog, how, answer{}
	}
	return unknown("Content-Type " + strconv.Quote(name) + " is not understood; use application/x-ndjson, application/json, text/plain or application/syslog")
}

// keyOf reads the Idempotency-Key; it is empty if there is none.
func keyOf(h http.Header) (key string, ok bool) {
	switch values := h.Values("Idempotency-Key"); len(values) {
	case 0:
		return "", true
	case 1:
		return values[0], len(values[0]) > 0 && len(values[0]) <= maxKey
	}
	return "", false
}

// ofBody is the answer to a body that cannot be used.
func ofBody(err error) answer {
	a := refusal(http.StatusBadRequest, err.Error())
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errRatio), errors.Is(err, errTooMuch):
		a.code = http.StatusRequestEntityTooLarge
	case errors.Is(err, errBusy):
		a = later(1, err.Error())
	case errors.Is(err, errSlow):
		a.code, a.close = http.StatusRequestTimeout, true
	case errors.Is(err, errGone):
		a.close = true
	}
	return a
}

// records makes the records of a body, and a digest of what it says. It takes
// the body over.
func (in *Input) records(ctx context.Context, c *conn, what media, how packing, body *held) (*parcel, digest, answer) {
	defer func() { body.release() }()
	timer := time.NewTimer(in.options.times.store)
	defer timer.Stop()
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	case <-ctx.Done():
		return nil, digest{}, ofBody(errGone)
	case <-timer.C:
		return nil, digest{}, ofBody(errBusy)
	}
	if how != packNone {
		packed := body
		var err error
		body, err = in.unpack(how, packed)
		packed.release()
		if err != nil {
			return nil, digest{}, ofBody(err)
		}
	}
	p := &parcel{budget: &in.memory, decoder: in.newDecoder(c)}
	if err := p.decode(what, body.buf); err != nil {
		p.batch.Release()
		return nil, digest{}, ofBody(err)
	}
	if p.batch.Len() == 0 {
		p.batch.Release()
		in.counters.ignoredEmpty.Add(p.empty)
		return nil, digest{}, answer{code: http.StatusNoContent}
	}
	if !p.budget.take(p.batch.Size()) {
		p.batch.Release()
		return nil, digest{}, ofBody(errBusy)
	}
	p.size = p.batch.Size()
	return p, digestOf([]byte{byte(what)}, body.buf), answer{}
}

// parcel is the records of one body on their way into the store.
type parcel struct {
	decoder
	budget *budget
	size   int
}

func (in *Input) newDecoder(c *conn) decoder {
	now := time.Now()
	d := decoder{parser: in.options.parser(in.zone), batch: record.NewBatch(), limit: growth * int(in.options.MaxBody),
		max: int(in.options.MaxMessage), now: now.UnixNano()}
	d.parser.Now = func() time.Time { return now }
	d.fill = func(r *record.Record) {
		r.Received = d.now
		r.Input, r.Agent, r.Peer = in.name, in.agent, c.who.Text
		if len(r.Host) == 0 {
			r.Host = c.who.Host
			r.Flags |= record.HostFilled
		}
	}
	return d
}

// storeOnce stores a body unless one of that key was stored before.
func (in *Input) storeOnce(c *conn, p *parcel, key, content digest) answer {
	timer := time.NewTimer(in.options.times.store)
	defer timer.Stop()
	for {
		claim, was, wait := in.keys.claim(key, content)
		if claim != nil {
			return in.store(c, p, claim)
		}
		if was != nil {
			p.drop()
			if was.body != content {
				return refusal(http.StatusUnprocessableEntity, "another body was sent under this Idempotency-Key")
			}
			in.counters.repeated.Inc()
			return answer{code: http.StatusOK, accepted: int(was.accepted)}
		}
		select {
		case <-wait:
		case <-timer.C:
			p.drop()
			return later(5, "another request of this Idempotency-Key is under way")
		case <-in.hopeful.Done():
			p.drop()
			return later(1, "the agent is stopping")
		}
	}
}

// drop gives up a parcel that nobody will store.
func (p *parcel) drop() {
	p.budget.give(p.size)
	p.batch.Release()
}

// fate is what becomes of one body in the store.
type fate struct {
	known chan struct{}
	err   error // set before known is closed
	taken bool  // the pipeline took the records; likewise
	state atomic.Uint32
}

// The states of a fate: the client waits, it has been told to come again, or
// the outcome is known. Only one of the last two follows the first.
const (
	fateOpen = iota
	fateLate
	fateKnown
)

// store hands a parcel to the pipeline and answers once its fate is known, or
// has not been for too long. It takes claim over, which may be nil.
func (in *Input) store(c *conn, p *parcel, claim *claim) answer {
	f := &fate{known: make(chan struct{})}
	n := p.batch.Len()
	in.fates.Go(func() { in.runStore(f, p, claim) })
	timer := time.NewTimer(in.options.times.store)
	defer timer.Stop()
	select {
	case <-f.known:
	case <-timer.C:
		in.stalled.Add(1)
		if f.state.CompareAndSwap(fateOpen, fateLate) {
			in.events.slow(c.door.url, in.options.times.store)
			return later(5, "the store does not answer")
		}
		in.stalled.Add(-1)
		<-f.known
	}
	switch {
	case f.err == nil:
		return answer{code: http.StatusOK, accepted: n}
	case f.taken:
		in.events.notStored(f.err)
		return later(5, "it is not known whether the records were stored")
	}
	in.events.notTaken(c.door.url, f.err)
	return later(5, "the store takes nothing at the moment")
}

// runStore waits for the store, and settles what depends on it.
func (in *Input) runStore(f *fate, p *parcel, claim *claim) {
	defer close(f.known)
	accepted := p.batch.Len()
	var marks []inputs.Mark
	if claim != nil {
		marks = claim.marks(accepted)
	}
	receipt, err := in.emit(in.hopeful, p.batch, marks...)
	p.budget.give(p.size)
	if err == nil {
		f.taken = true
		err = receipt.Wait(in.hopeful)
	}
	f.err = err
	switch {
	case claim == nil:
	case f.taken && in.hopeful.Err() != nil:
		// Only the wait may have ended. Who asks again under this key, of the input that a reload brings, must not be first.
		in.shared.Late(receipt, func(err error) { claim.settle(err == nil) })
	default:
		claim.settle(f.err == nil)
	}
	if f.err == nil {
		in.counters.took(accepted, &p.decoder)
	} else if f.taken {
		in.counters.errUnstored.Inc()
	}
	if !f.state.CompareAndSwap(fateOpen, fateKnown) {
		in.stalled.Add(-1)
	}
}
