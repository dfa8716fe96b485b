package storage

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-log/runnel/record"
)

// cpu is the processor time this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// logLike returns a batch of n records of about 300 bytes of text each.
func logLike(n int) *record.Batch {
	b := record.NewBatch()
	var r record.Record
	x := uint64(88172645463325252)
	random := func(below uint64) uint64 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return x % below
	}
	for i := range n {
		r.Reset()
		r.Time = 1_790_000_000_000_000_000 + int64(i)*1000
		r.Received = r.Time + int64(random(5000))
		r.Severity, r.Facility = 6, 3
		r.Host, r.App, r.ProcID, r.Input, r.Peer, r.Agent = []byte("web-17"), []byte("nginx"), []byte("2833"), []byte("docker"), []byte("127.0.0.1"), []byte("vm-17")
		m := fmt.Appendf(nil, `{"level":"info","ts":"2026-11-22T10:07:05.%06dZ","msg":"request","method":"GET","path":"/api/v1/users/%d","status":%d,"bytes":%d,"dur_ms":%d,"trace":"%016x","ua":"Mozilla/5.0 (X11; Linux x86_64)","ip":"10.0.%d.%d"}`,
			random(1e6), random(50000), 200+random(5), random(90000), random(500), random(1<<63), random(255), random(255))
		for len(m) < 300 {
			m = append(m, " padding"...)
		}
		r.Message = m[:300]
		if err := b.Append(&r); err != nil {
			panic(err)
		}
	}
	return b
}

// BenchmarkAppend stores records of 300 bytes, every one fsynced, as inputs at
// full rate do: nobody waits for a receipt before the next batch. It says
// nothing of a sender that does.
//
//	go test ./storage -run - -bench Append -benchtime 3s
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{32, 256, 512} {
		for _, appenders := range []int{1, 4} {
			b.Run(fmt.Sprintf("batch=%d/appenders=%d", size, appenders), func(b *testing.B) {
				s := openStore(b, Options{MaxSize: 4 << 30})
				template := logLike(size)
				b.SetBytes(int64(size * 300))
				b.ReportAllocs()
				used := cpu()
				b.ResetTimer()
				var wg sync.WaitGroup
				for a := range appenders {
					wg.Go(func() {
						for range b.N / appenders {
							batch := record.NewBatch()
							batch.AppendBatch(template, 0, size)
							if _, err := s.Append(context.Background(), Unit{Batches: []StreamBatch{{fmt.Sprint("s", a), batch}}}); err != nil {
								panic(err)
							}
						}
					})
				}
				wg.Wait()
				put(b, s, "end", numbered(0, 1, 8))
				b.StopTimer()
				records := float64(b.N/appenders*appenders) * float64(size)
				b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric((cpu()-used).Seconds()/records*1e6, "CPU-s/M")
			})
		}
	}
}

// BenchmarkAppendState stores batches of 256 records with the state that they
// moved: so many changes of 20 bytes in each, of 100 000 keys in all, of which a
// checkpoint is made now and then. longest is the longest that Append took.
//
//	go test ./storage -run - -bench AppendState -benchtime 2s
func BenchmarkAppendState(b *testing.B) {
	const keys = 100_000
	for _, changes := range []int{0, 10, 1000} {
		b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
			s := openStore(b, Options{MaxSize: 4 << 30})
			all := make([]Change, keys)
			for i := range all {
				all[i] = Change{fmt.Sprintf("pipeline\x00module\x00host-%06d", i), make([]byte, 20)}
			}
			store(b, s, Unit{State: all})
			if err := s.saveCheckpoint(); err != nil {
				b.Fatal(err)
			}
			template := logLike(256)
			b.SetBytes(256 * 300)
			b.ReportAllocs()
			at, used, longest, checkpoints := 0, cpu(), time.Duration(0), time.Duration(0)
			var background sync.WaitGroup
			b.ResetTimer()
			for i := range b.N {
				if i%2000 == 1999 {
					background.Wait()
					background.Go(func() {
						begun := time.Now()
						if err := s.saveCheckpoint(); err != nil {
							panic(err)
						}
						checkpoints = max(checkpoints, time.Since(begun))
					})
				}
				batch := record.NewBatch()
				batch.AppendBatch(template, 0, 256)
				if at += changes; at+changes > keys {
					at = 0
				}
				begun := time.Now()
				if _, err := s.Append(context.Background(), Unit{Batches: []StreamBatch{{"a", batch}}, State: all[at : at+changes]}); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(begun))
			}
			put(b, s, "end", numbered(0, 1, 8))
			background.Wait()
			b.StopTimer()
			records := float64(b.N) * 256
			b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric((cpu()-used).Seconds()/records*1e6, "CPU-s/M")
			b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
			b.ReportMetric(float64(checkpoints.Milliseconds()), "checkpoint-ms")
		})
	}
}

// BenchmarkCheckpoint writes 1 000 changes of 100 000 keys of state, and none.
//
//	go test ./storage -run - -bench Checkpoint -benchtime 50x
func BenchmarkCheckpoint(b *testing.B) {
	const keys = 100_000
	for _, changes := range []int{0, 1000, keys} {
		b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
			s := openStore(b, Options{})
			all := make([]Change, keys)
			for i := range all {
				all[i] = Change{fmt.Sprintf("pipeline\x00module\x00host-%06d", i), make([]byte, 20)}
			}
			store(b, s, Unit{State: all})
			if err := s.saveCheckpoint(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				b.StopTimer()
				store(b, s, Unit{State: all[:changes]})
				b.StartTimer()
				if err := s.saveCheckpoint(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads blocks of 512 records from the file, checked and
// decompressed (cold: not from the recent blocks; the page cache has them).
//
//	go test ./storage -run - -bench Read -benchtime 1s
func BenchmarkRead(b *testing.B) {
	for _, warm := range []bool{false, true} {
		b.Run(fmt.Sprintf("recent=%v", warm), func(b *testing.B) {
			s := openStore(b, Options{})
			blocks := 400
			if warm {
				blocks = 8
			}
			for range blocks {
				put(b, s, "a", logLike(512))
			}
			if !warm {
				s.recent.shrink(0)
			}
			out := record.NewBatch()
			b.SetBytes(512 * 300)
			b.ReportAllocs()
			at, used, n := uint64(1), cpu(), 0
			for b.Loop() {
				if _, err := s.Read("a", at, out); err != nil {
					b.Fatal(err)
				}
				if n++; n%blocks == 0 {
					at = 1
				} else {
					at += 512
				}
			}
			b.ReportMetric((cpu()-used).Seconds()/float64(n)/512*1e6, "CPU-s/M")
		})
	}
}

// BenchmarkOpen opens a store of 1 GiB of raw records, closed cleanly, from the
// page cache.
//
//	go test ./storage -run - -bench Open -benchtime 3x
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openStore(b, Options{Dir: dir, SegmentSize: 64 << 20})
	template := logLike(512)
	for range (1 << 30) / template.Size() {
		batch := record.NewBatch()
		batch.AppendBatch(template, 0, 512)
		if _, err := s.Append(context.Background(), Unit{Batches: []StreamBatch{{"a", batch}}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(Options{Dir: dir, SegmentSize: 64 << 20})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = s.Close()
		b.StartTimer()
	}
}

// BenchmarkSalvage reads the pages of a segment of 128 MiB whose meta pages are
// gone, as a start does:
//
//	go test -run xxx -bench Salvage ./storage
//
// The file is in the page cache: on a disk that is slower than this, the disk counts.
func BenchmarkSalvage(b *testing.B) {
	s := openStore(b, Options{})
	for n := uint64(0); s.active.size.Load() < 120<<20; n += 5000 {
		put(b, s, "a", noise(n, 5000))
	}
	path, base := s.active.path, s.active.base
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 8192), 0)
		f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(sizeOf(path))
	b.ReportAllocs()
	for b.Loop() {
		r, err := scavenge(path, base)
		if err != nil || len(r.entries) < 1000 {
			b.Fatalf("%d entries, %v", len(r.entries), err)
		}
		r.pages.f.Close()
	}
}
