package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// The defaults that no part of the file states; sample.yaml shows them.
const (
	defaultData      = "/var/lib/runnel"
	defaultMaxSize   = 8 << 30
	defaultAPI       = "127.0.0.1:4780"
	defaultMaxAge    = 24 * time.Hour
	defaultStreamMax = 512 << 20
)

// LoadConfig reads and checks the configuration in the file at path. The error
// is a config.Problems with everything that is wrong in it.
func LoadConfig(path string, kinds Kinds) (*Config, error) {
	root, ps := config.ParseFile(path)
	return load(path, root, ps, kinds)
}

// ParseConfig is LoadConfig of a text; name stands for the file in problems, and
// relative paths start from dir.
func ParseConfig(name string, src []byte, dir string, kinds Kinds) (*Config, error) {
	root, ps := config.ParseIn(name, dir, src)
	return load(name, root, ps, kinds)
}

// file is the top level of a config file. Its sections are decoded later, each in its own way.
type file struct {
	Agent      agentSection `yaml:"agent"`
	API        APIConfig    `yaml:"api"`
	Inputs     *config.Node `yaml:"inputs"`
	Modules    *config.Node `yaml:"modules"`
	Pipelines  *config.Node `yaml:"pipelines"`
	Streams    *config.Node `yaml:"streams"`
	Forwarders *config.Node `yaml:"forwarders"`
}

type agentSection struct {
	Name        string       `yaml:"name"`
	DataDir     string       `yaml:"data_dir"`
	MaxSize     config.Bytes `yaml:"max_size"`
	CommitEvery string       `yaml:"commit_every"`
	Engine      string       `yaml:"engine" oneof:"auto compiler interpreter"`
}

// loader is a configuration while it is being read.
type loader struct {
	config   *Config
	kinds    Kinds
	problems config.Problems
	taken    map[string]string // what listens where: network and address → key path
	inputOf  map[string]string // input → the pipeline that takes from it
}

func load(name string, root *config.Node, ps config.Problems, kinds Kinds) (*Config, error) {
	if root == nil {
		return nil, ps.Err()
	}
	l := &loader{config: &Config{File: name, Streams: map[string]storage.Policy{}, known: map[string]bool{defaultName: true}},
		kinds: kinds, problems: ps, taken: map[string]string{}, inputOf: map[string]string{}}
	if len(root.Keys()) == 0 && len(ps) == 0 && root.Kind() == config.Map {
		root.At(&l.problems).Problemf("is empty; write at least one input")
	}
	f := file{Agent: agentSection{Name: hostname(), DataDir: defaultData, MaxSize: defaultMaxSize, CommitEvery: "auto", Engine: "auto"},
		API: APIConfig{Listen: defaultAPI}}
	config.Decode(root, &f, &l.problems)
	at := root.At(&l.problems)
	l.agent(f.Agent, at.Key("agent"))
	l.api(f.API, at.Key("api"))
	l.streams(f.Streams)
	l.inputs(f.Inputs)
	l.modules(f.Modules)
	l.pipelines(f.Pipelines)
	l.forwarders(f.Forwarders)
	if err := l.problems.Err(); err != nil {
		return nil, err
	}
	return l.config, nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// agent checks the section of that name.
func (l *loader) agent(s agentSection, at *config.At) {
	c := l.config
	c.Name, c.MaxSize = s.Name, int64(s.MaxSize)
	if s.Name == "" || len(s.Name) > 255 || strings.ContainsFunc(s.Name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		at.Key("name").Problemf("%q is no name for an agent; write a word without spaces, such as this host's name", s.Name)
	}
	if s.DataDir == "" {
		at.Key("data_dir").Problemf("is empty; write the folder to keep streams in")
	}
	if c.DataDir = s.DataDir; at.Node().Key("data_dir") != nil {
		c.DataDir = at.File(s.DataDir)
	}
	if s.MaxSize < 64<<20 {
		at.Key("max_size").Problemf("%s is too little to keep streams in; write at least 64MiB", s.MaxSize)
	}
	if engine, err := wasm.ParseEngine(s.Engine); err == nil { // another word has been reported
		c.Engine = engine
	}
	if s.CommitEvery == "auto" {
		return
	}
	d, err := config.ParseDuration(s.CommitEvery)
	if err != nil || d < time.Millisecond || d > 10*time.Second {
		at.Key("commit_every").Problemf("%q is no distance between commits; write auto, or 1ms to 10s", s.CommitEvery)
	}
	c.CommitEvery = d
}

// partName is what inputs, modules, pipelines and forwarders may be called, and
// streamName what a stream may.
var (
	partName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	streamName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

// section calls each for every entry of a section that names its parts.
func (l *loader) section(n *config.Node, example string, each func(name string, n *config.Node)) {
	if n == nil || n.Kind() == config.Null {
		return
	}
	if n.Kind() != config.Map {
		n.At(&l.problems).Problemf("is %s; write %s", n.Kind(), example)
		return
	}
	for _, name := range n.Keys() {
		each(name, n.Key(name))
	}
}

// named reports a part's name that cannot be one.
func (l *loader) named(section *config.Node, name string) {
	if !partName.MatchString(name) {
		section.KeyAt(&l.problems, name).Problemf("%q is no name; write 1 to 64 letters, digits, - and _", name)
	}
}

// stream checks the name of a stream at a place, and says what is wrong with it.
func stream(at *config.At, name string) bool {
	switch {
	case strings.HasSuffix(name, deadSuffix):
		at.Problemf("%q is reserved: dead letters are put there by runnel itself; take another name", name)
	case !streamName.MatchString(name):
		at.Problemf("%q is no name for a stream; write 1 to 64 of a-z, 0-9, - and _, such as %s", name, streamLike(name))
	default:
		return true
	}
	return false
}

// streamLike makes a stream's name out of what was written.
func streamLike(name string) string {
	out := strings.Trim(regexp.MustCompile(`[^a-z0-9_-]+`).ReplaceAllString(strings.ToLower(name), "-"), "-_")
	if out == "" {
		return "app"
	}
	return out[:min(len(out), 64)]
}

// streamSection is one stream's bounds.
type streamSection struct {
	MaxAge  config.Duration `yaml:"max_age"`
	MaxSize config.Bytes    `yaml:"max_size"`
	OnFull  string          `yaml:"on_full" oneof:"drop_oldest drop_new push_back"`
}

var onFull = map[string]storage.OnFull{"drop_oldest": storage.DropOldest, "drop_new": storage.DropNew, "push_back": storage.PushBack}

// streams reads "*" first, for it is the default of the others.
func (l *loader) streams(n *config.Node) {
	general := streamSection{MaxAge: defaultMaxAge, MaxSize: defaultStreamMax, OnFull: "drop_oldest"}
	read := func(name string, n *config.Node) streamSection {
		s := general
		if n != nil {
			config.Decode(n, &s, &l.problems)
		}
		if s.MaxSize != 0 && s.MaxSize < 1<<20 {
			n.At(&l.problems).Key("max_size").Problemf("%s is too little for a stream; write at least 1MiB, or 0 for no limit of its own", s.MaxSize)
		}
		l.config.Streams[name] = storage.Policy{MaxAge: s.MaxAge, MaxSize: int64(s.MaxSize), OnFull: onFull[s.OnFull]}
		return s
	}
	general = read(allStreams, n.Key(allStreams))
	l.section(n, "streams: {NAME: {max_age: 72h}}", func(name string, part *config.Node) {
		if name != allStreams && stream(n.KeyAt(&l.problems, name), name) {
			read(name, part)
			l.config.known[name] = true
		}
	})
}

// absolute resolves a path of the config for messages and digests.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
