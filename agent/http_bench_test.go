package agent

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BenchmarkHTTP posts NDJSON to an agent in a process of its own, which fsyncs
// each body before it answers. msg/s is bound by the clients and the disk as much as by
// the agent; cpu-s/M is the agent's alone, of user and system, start included.
//
//	go test ./agent -run - -bench HTTP -benchtime 2000x
func BenchmarkHTTP(b *testing.B) {
	for _, c := range []struct {
		name                 string
		records, connections int
		key                  bool
	}{{"1000 records a body", 1000, 4, false}, {"with keys", 1000, 4, true}, {"100 records a body", 100, 16, false}, {"1 record a body", 1, 64, false}} {
		b.Run(c.name, func(b *testing.B) { benchmarkHTTP(b, c.records, c.connections, c.key) })
	}
}

func benchmarkHTTP(b *testing.B, records, connections int, key bool) {
	dir := b.TempDir()
	const config = "inputs: {in: {type: http, listen: '127.0.0.1:0'}}\npipelines: {main: {from: [in], stream: app}}\n"
	if err := os.WriteFile(filepath.Join(dir, childConfig), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, kill := context.WithCancel(b.Context())
	defer kill()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	address := strings.TrimPrefix(lines.Text(), "listening tcp://")
	go func() {
		for lines.Scan() { //nolint:revive // or it would block on its output
		}
	}()
	var body []byte
	for i := range records {
		body = fmt.Appendf(body, `{"time":"2026-11-22T10:07:05.143147Z","facility":3,"severity":6,"host":"vm","app":"nginx","procid":"2833","message":"10.0.0.7 - - \"GET /item/%d HTTP/1.1\" 200 1234"}`+"\n", i)
	}
	work := make(chan int)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range work {
				name := ""
				if key {
					name = fmt.Sprint(i)
				}
				if code, text := postTo(client, address, name, body); code != 200 {
					b.Errorf("got %d %s", code, text)
				}
			}
		})
	}
	b.ResetTimer()
	for i := range b.N {
		work <- i
	}
	close(work)
	wg.Wait()
	b.StopTimer()
	kill()
	cmd.Wait() //nolint:errcheck // it was killed
	total := float64(b.N * records)
	b.ReportMetric(total/b.Elapsed().Seconds(), "msg/s")
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.ReportMetric(cpu.Seconds()/total*1e6, "cpu-s/M")
}
