//go:build integration

package integration

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// interop is how many messages go each way.
const interop = 100_000

// sample is one message of the interoperability tests: every field of it
// differs from its neighbours'.
type sample struct{ i int }

func (s sample) facility() int { return s.i % 24 }
func (s sample) severity() int { return s.i % 8 }
func (s sample) time() time.Time { // in the zones of three senders
	zone := time.FixedZone("", []int{0, 2*3600 + 1800, -5 * 3600}[s.i%3])
	return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Add(time.Duration(s.i) * 1001 * time.Microsecond).In(zone)
}
func (s sample) host() string   { return fmt.Sprintf("host-%d.example", s.i%97) }
func (s sample) app() string    { return fmt.Sprintf("app%d", s.i%13) }
func (s sample) procid() string { return fmt.Sprint(s.i) }
func (s sample) msgid() string  { return fmt.Sprintf("ID%d", s.i%31) }
func (s sample) sd() string     { return fmt.Sprintf(`[x@32473 seq="%d" text="a\"b\]c\\d é"]`, s.i) }
func (s sample) message() string {
	return fmt.Sprintf("message %d: äöü  two blanks, 'quotes' \"too\" and [brackets]%s", s.i, strings.Repeat(" padding", s.i%64))
}

func (s sample) rfc5424() string {
	return fmt.Sprintf("<%d>1 %s %s %s %s %s %s %s", s.facility()*8+s.severity(), s.time().Format("2006-01-02T15:04:05.000000Z07:00"),
		s.host(), s.app(), s.procid(), s.msgid(), s.sd(), s.message())
}

// tabbed is the sample as the daemons' templates below write it.
func (s sample) tabbed() string {
	return strings.Join([]string{fmt.Sprint(s.facility()*8 + s.severity()), s.host(), s.app(), s.procid(), s.msgid(), s.message()}, "\t")
}

// sendSamples writes all samples to a TCP address, counted or in lines.
func sendSamples(t *testing.T, address string, octets bool) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := bufio.NewWriterSize(c, 256<<10)
	for i := range interop {
		m := sample{i}.rfc5424()
		if octets {
			fmt.Fprintf(w, "%d %s", len(m), m)
		} else {
			fmt.Fprintf(w, "%s\n", m)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite() //nolint:errcheck // the daemon closes it too
	c.Read(make([]byte, 1))       //nolint:errcheck // until the daemon has read it all
}

// waitForPort returns once somebody listens.
func waitForPort(t *testing.T, p *process, port int) {
	t.Helper()
	eventually(t, fmt.Sprintf("port %d", port), func() bool {
		select {
		case <-p.done:
			t.Fatalf("%s ended: %v\n%s", p.cmd.Path, p.err, p.output)
		default:
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// daemon is a foreign syslog daemon: one that forwards what it gets on in to
// out, and one that writes what it gets on in to a file, tabbed.
type daemon struct {
	name     string
	octets   bool // what its input takes here
	forward  func(t *testing.T, in, out int, ca, cert, key string) *process
	collect  func(t *testing.T, in int, file, ca, cert, key string) *process
	framings []string
}

var daemons = []daemon{
	{name: "rsyslog", forward: rsyslogForward, collect: rsyslogCollect, framings: []string{"octet", "lf"}},
	{name: "syslog-ng", octets: true, forward: syslogngForward, collect: syslogngCollect, framings: []string{"octet"}},
}

// TestFromDaemons has rsyslog and syslog-ng forward to runnel, in the clear and
// under TLS with both certificates.
func TestFromDaemons(t *testing.T) {
	for _, d := range daemons {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", d.name, secure), func(t *testing.T) {
				ca := newAuthority(t)
				cert, key := ca.issue(t, "127.0.0.1")
				in, out := freePort(t), freePort(t)
				listen := fmt.Sprintf("listen: ['tcp://127.0.0.1:%d']", out)
				if secure {
					listen = fmt.Sprintf("listen: ['tls://127.0.0.1:%d'], tls: {cert: %s, key: %s, client_ca: %s, client_auth: require}", out, cert, key, ca.file)
				}
				a := startAgent(t, fmt.Sprintf("inputs: {net: {type: syslog, %s}}\npipelines: {main: {from: [net], stream: app}}\nstreams: {app: {max_size: 4GiB}}", listen))
				caFile, certFile, keyFile := "", "", ""
				if secure {
					caFile, certFile, keyFile = ca.file, cert, key
				}
				p := d.forward(t, in, out, caFile, certFile, keyFile)
				waitForPort(t, p, in)
				sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), d.octets)
				waitForRecords(t, a, "app", interop)
				p.stop(t)
				checkRecords(t, a.query(t, "stream=app"))
			})
		}
	}
}

// waitForRecords returns once a stream holds n records.
func waitForRecords(t *testing.T, a *agent, stream string, n uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d records in %s", n, stream), func() bool {
		for _, s := range a.streams(t) {
			if s.Name == stream && s.Records >= n {
				return true
			}
		}
		return false
	})
}

func checkRecords(t *testing.T, got []storedRecord) {
	t.Helper()
	// The daemons may say a word of their own when they start and stop.
	var records []storedRecord
	for _, r := range got {
		if strings.HasPrefix(r.Message, "message ") {
			records = append(records, r)
		}
	}
	if len(records) != interop {
		t.Errorf("got %d records, want %d", len(records), interop)
	}
	for i, r := range records {
		s := sample{i}
		if r.Facility != s.facility() || r.Severity != s.severity() || !r.Time.Equal(s.time()) || r.Host != s.host() || r.App != s.app() ||
			r.ProcID != s.procid() || r.MsgID != s.msgid() || r.Message != s.message() || len(r.Flags) != 0 ||
			r.SD["x@32473"]["seq"] != fmt.Sprint(i) || r.SD["x@32473"]["text"] != `a"b]c\d é` {
			t.Fatalf("record %d:\n got %+v\nwant %s", i, r, s.rfc5424())
		}
	}
}

// TestToDaemons has runnel forward to rsyslog and syslog-ng.
func TestToDaemons(t *testing.T) {
	for _, d := range daemons {
		for _, framing := range d.framings {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/tls=%v", d.name, framing, secure), func(t *testing.T) {
					ca := newAuthority(t)
					cert, key := ca.issue(t, "127.0.0.1")
					in, out := freePort(t), freePort(t)
					file := filepath.Join(t.TempDir(), "received")
					to, caFile, certFile, keyFile := fmt.Sprintf("to: 'tcp://127.0.0.1:%d'", out), "", "", ""
					if secure {
						caFile, certFile, keyFile = ca.file, cert, key
						to = fmt.Sprintf("to: 'tls://127.0.0.1:%d', tls: {ca: %s, cert: %s, key: %s}", out, caFile, certFile, keyFile)
					}
					p := d.collect(t, out, file, caFile, certFile, keyFile)
					waitForPort(t, p, out)
					startAgent(t, fmt.Sprintf(`
inputs: {net: {type: syslog, listen: ["tcp://127.0.0.1:%d"]}}
pipelines: {main: {from: [net], stream: app}}
streams: {app: {max_size: 4GiB}}
forwarders: {out: {type: syslog, from: [app], %s, format: rfc5424, framing: %s}}`, in, to, framing))
					sendSamples(t, fmt.Sprintf("127.0.0.1:%d", in), false)
					var lines []string
					eventually(t, "all lines in the daemon's file", func() bool {
						lines = sampleLines(file)
						return len(lines) >= interop
					})
					if len(lines) != interop {
						t.Errorf("got %d lines, want %d", len(lines), interop)
					}
					for i, line := range lines {
						s := sample{i}
						want := s.tabbed()
						if fields := strings.Split(line, "\t"); len(fields) != 8 || strings.Join(fields[:6], "\t") != want ||
							!sameInstant(fields[6], s.time()) || fields[7] != s.sd() {
							t.Fatalf("line %d:\n got %q\nwant %q, %s, %s", i, line, want, s.time(), s.sd())
						}
					}
				})
			}
		}
	}
}

func sameInstant(text string, want time.Time) bool {
	got, err := time.Parse(time.RFC3339Nano, text)
	return err == nil && got.Equal(want)
}

// sampleLines returns the lines of file that hold samples: whole ones only.
func sampleLines(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "\tmessage ") && strings.HasSuffix(line, "\n") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

func writeConfig(t *testing.T, name, text string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// startRsyslog runs rsyslogd in the foreground on a config of its own.
func startRsyslog(t *testing.T, config, ca, cert, key string) *process {
	t.Helper()
	if ca != "" {
		config = fmt.Sprintf(`global(defaultNetstreamDriverCAFile="%s" defaultNetstreamDriverCertFile="%s" defaultNetstreamDriverKeyFile="%s")
`, ca, cert, key) + config
	}
	dir, path := writeConfig(t, "rsyslog.conf", config)
	return start(t, exec.Command("rsyslogd", "-n", "-f", path, "-i", dir+"/pid"))
}

func rsyslogForward(t *testing.T, in, out int, ca, cert, key string) *process {
	driver := ""
	if ca != "" {
		driver = `StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="127.0.0.1"`
	}
	// Two workers, its default, take turns with batches: what it sends is then out of order on the wire already.
	return startRsyslog(t, fmt.Sprintf(`
main_queue(queue.type="FixedArray" queue.size="50000" queue.workerThreads="1")
module(load="imtcp")
input(type="imtcp" port="%d" address="127.0.0.1")
action(type="omfwd" target="127.0.0.1" port="%d" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format" %s)
`, in, out, driver), ca, cert, key)
}

func rsyslogCollect(t *testing.T, in int, file, ca, cert, key string) *process {
	driver := ""
	if ca != "" {
		driver = `StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"`
	}
	return startRsyslog(t, fmt.Sprintf(`
main_queue(queue.type="FixedArray" queue.size="50000" queue.workerThreads="1")
module(load="imtcp" %s)
template(name="tabbed" type="string" string="%%pri%%\t%%hostname%%\t%%app-name%%\t%%procid%%\t%%msgid%%\t%%msg%%\t%%timestamp:::date-rfc3339%%\t%%structured-data%%\n")
input(type="imtcp" port="%d" address="127.0.0.1")
action(type="omfile" file="%s" template="tabbed" flushInterval="1" flushOnTXEnd="on")
`, driver, in, file), ca, cert, key)
}

// startSyslogNG runs the unpacked syslog-ng in the foreground.
func startSyslogNG(t *testing.T, config string) *process {
	t.Helper()
	root, err := filepath.Abs("../../../.cache/syslog-ng")
	if err != nil {
		t.Fatal(err)
	}
	lib := root + "/usr/lib/syslog-ng"
	modules, _ := filepath.Glob(lib + "/*/libafsocket.so") // in a folder named after the version
	if len(modules) != 1 {
		t.Fatalf("no syslog-ng in %s; internal/testkit/install unpacks it", root)
	}
	dir, path := writeConfig(t, "syslog-ng.conf", "@version: 3.35\noptions { keep-hostname(yes); keep-timestamp(yes); frac-digits(6); ts-format(iso); use-dns(no); };\n"+config)
	cmd := exec.Command(root+"/usr/sbin/syslog-ng", "-F", "--no-caps", "-f", path, "-p", dir+"/pid", "-c", dir+"/ctl", "-R", dir+"/persist",
		"--module-path", filepath.Dir(modules[0]))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib)
	return start(t, cmd)
}

func syslogngTLS(ca, cert, key string) (transport, options string) {
	if ca == "" {
		return "tcp", ""
	}
	return "tls", fmt.Sprintf("tls(key-file(%q) cert-file(%q) ca-file(%q) peer-verify(required-trusted))", key, cert, ca)
}

func syslogngForward(t *testing.T, in, out int, ca, cert, key string) *process {
	transport, tls := syslogngTLS(ca, cert, key)
	return startSyslogNG(t, fmt.Sprintf(`
source s { syslog(ip(127.0.0.1) port(%d) transport("tcp") log-iw-size(10000)); };
destination d { syslog("127.0.0.1" port(%d) transport(%q) %s); };
log { source(s); destination(d); flags(flow-control); };
`, in, out, transport, tls))
}

func syslogngCollect(t *testing.T, in int, file, ca, cert, key string) *process {
	transport, tls := syslogngTLS(ca, cert, key)
	return startSyslogNG(t, fmt.Sprintf(`
source s { syslog(ip(127.0.0.1) port(%d) transport(%q) log-iw-size(10000) %s); };
destination d { file(%q template("$PRI\t$HOST\t$PROGRAM\t$PID\t$MSGID\t$MSG\t$ISODATE\t$SDATA\n")); };
log { source(s); destination(d); flags(flow-control); };
`, in, transport, tls, file))
}
