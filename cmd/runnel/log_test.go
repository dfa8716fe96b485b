package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// fedBack is a log whose every line makes the agent log two more.
type fedBack struct {
	log   *zerolog.Logger
	lines bytes.Buffer
	depth int
}

func (f *fedBack) Write(p []byte) (int, error) {
	f.lines.Write(p)
	if f.depth++; f.depth < 1_000_000 {
		f.log.Warn().Msg("a record of our own log is malformed")
		f.log.Warn().Msg("a record of our own log is malformed")
	}
	return len(p), nil
}

// TestItsOwnLogDoesNotFeedItself: row 43 of the faults; a log that comes back as
// records ends, and goes on at ten lines a second.
func TestItsOwnLogDoesNotFeedItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fedBack{}
		log := zerolog.New(f).Hook(newLineLimit())
		f.log = &log
		const seconds = 60
		for range seconds * 100 {
			log.Warn().Msg("a record of our own log is malformed")
			<-time.After(10 * time.Millisecond) // on the bubble's clock
		}
		lines := strings.Count(f.lines.String(), "\n")
		if most := lineBurst + linesASecond*seconds; lines > most+1 || lines < most-linesASecond {
			t.Errorf("%d lines in %d s, want %d", lines, seconds, most)
		}
	})
}

func TestALineSaysHowManyAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		limit := newLineLimit()
		log := zerolog.New(&out).Hook(limit)
		for range lineBurst + 1_000_000 {
			log.Warn().Msg("again")
		}
		log.Info().Msg("another thing")
		<-time.After(time.Second)
		out.WriteString("later\n")
		log.Warn().Msg("again")
		text := out.String()
		if n := strings.Count(text, `"again"`); n != lineBurst+1 {
			t.Errorf("%d lines, want %d and one later", n, lineBurst)
		}
		if !strings.Contains(text, `"another thing"`) || !strings.HasSuffix(text, "later\n{\"level\":\"warn\",\"left_out\":1000000,\"message\":\"again\"}\n") {
			t.Errorf("got the end %q", text[max(0, len(text)-200):])
		}
		for i := range 10 * lineTexts { // a text that is no constant is a bug, and no leak
			log.Debug().Msg(fmt.Sprint("text ", i))
		}
		if n := len(limit.texts); n > lineTexts {
			t.Errorf("%d texts are remembered", n)
		}
	})
}

// TestALineOfTheLogSaysWhen: with its date and in milliseconds, as text and as JSON.
func TestALineOfTheLogSaysWhen(t *testing.T) {
	f := func(format string, when func(line []byte) string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			<-time.After(1234 * time.Millisecond) // of the bubble, which begins at a full second
			var out bytes.Buffer
			log := runCmd{LogFormat: format, LogLevel: "info"}.logger(&globals{Stderr: &out, NoColor: true})
			log.Info().Msg("started")
			text := when(out.Bytes())
			if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.234(Z|[+-]\d\d:\d\d)$`).MatchString(text) {
				t.Errorf("%s: no date, or no milliseconds: %q in %s", format, text, out.String())
			}
			if at, err := time.Parse(time.RFC3339, text); err != nil || !at.Equal(time.Now()) {
				t.Errorf("%s: got %s (%v), want %s", format, at, err, time.Now())
			}
		})
	}
	f("text", func(line []byte) string { return strings.Fields(string(line))[0] })
	f("json", func(line []byte) string {
		var said struct{ Time string }
		if err := json.Unmarshal(line, &said); err != nil {
			t.Error(err)
		}
		return said.Time
	})
}
