package runnel

// Config is the module's config: a JSON object, read key by key with the type
// the guest expects. A value of another type, and what Problem is told, makes
// the host refuse the module with that line.
//
// It is a reader of its own, 200 lines, because encoding/json brings
// reflection: 600 KB of code in every guest, which the host compiles and holds.
type Config struct {
	keys     []string
	values   []string // raw JSON
	at       string   // path of this object, for messages
	problems []string
	parent   *Config
}

// Problem refuses the config with a message for whoever wrote it.
func (c *Config) Problem(message string) {
	for c.parent != nil {
		c = c.parent
	}
	c.problems = append(c.problems, message)
}

// Keys returns the keys in the order they came.
func (c *Config) Keys() []string { return c.keys }

// Has reports whether the key is there.
func (c *Config) Has(key string) bool { return c.find(key) != "" }

// Raw returns a value as JSON text, "" if it is not there.
func (c *Config) Raw(key string) string { return c.find(key) }

// Known refuses every key that is not among these: call it once with all the
// keys a guest reads, so that a misspelt one does not go unseen.
func (c *Config) Known(keys ...string) {
	for _, key := range c.keys {
		known := false
		for _, k := range keys {
			known = known || k == key
		}
		if !known {
			list := ""
			for i, k := range keys {
				if i > 0 {
					list += ", "
				}
				list += k
			}
			c.Problem("unknown key \"" + c.at + key + "\"; known are: " + list)
		}
	}
}

// Bool returns a boolean, or fallback where the key is absent.
func (c *Config) Bool(key string, fallback bool) bool {
	switch raw := c.find(key); raw {
	case "":
		return fallback
	case "true":
		return true
	case "false":
		return false
	default:
		c.wrong(key, raw, "true or false")
		return fallback
	}
}

// String returns a text, or fallback where the key is absent.
func (c *Config) String(key, fallback string) string {
	raw := c.find(key)
	if raw == "" {
		return fallback
	}
	if raw[0] != '"' {
		c.wrong(key, raw, "a text")
		return fallback
	}
	return unquote(raw)
}

// Int returns an integer, or fallback where the key is absent.
func (c *Config) Int(key string, fallback int64) int64 {
	raw := c.find(key)
	if raw == "" {
		return fallback
	}
	n, ok := parseInt(raw)
	if !ok {
		c.wrong(key, raw, "a whole number")
		return fallback
	}
	return n
}

// Strings returns a list of texts, nil where the key is absent.
func (c *Config) Strings(key string) []string {
	raw := c.find(key)
	if raw == "" {
		return nil
	}
	var list []string
	p := parser{s: raw}
	ok := p.list(func(value string) {
		if value[0] == '"' {
			list = append(list, unquote(value))
		} else {
			p.bad = true
		}
	})
	if !ok {
		c.wrong(key, raw, "a list of texts")
		return nil
	}
	return list
}

// Object returns an object within this one; empty where the key is absent.
func (c *Config) Object(key string) *Config {
	sub := &Config{at: c.at + key + ".", parent: c}
	raw := c.find(key)
	if raw == "" {
		return sub
	}
	p := parser{s: raw}
	if !p.object(sub.add) {
		c.wrong(key, raw, "an object")
	}
	return sub
}

func (c *Config) add(key, value string) {
	c.keys, c.values = append(c.keys, key), append(c.values, value)
}

func (c *Config) find(key string) string {
	for i, k := range c.keys {
		if k == key {
			return c.values[i]
		}
	}
	return ""
}

func (c *Config) wrong(key, raw, want string) {
	if len(raw) > 40 {
		raw = raw[:40] + "…"
	}
	c.Problem(c.at + key + " is " + raw + ", not " + want)
}

func parseConfig(raw []byte) *Config {
	c := &Config{}
	if len(raw) == 0 || string(raw) == "null" {
		return c
	}
	p := parser{s: string(raw)}
	if !p.object(c.add) || p.more() {
		c.keys, c.values = nil, nil
		c.Problem("it is not a JSON object")
	}
	return c
}
