package config

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/runnel-log/runnel/internal/plainfile"
)

// Secret is a value that is read from a file or the environment, and that
// nothing prints: {file: PATH} or {env: NAME}. The zero value is no secret.
type Secret struct {
	File, Env string

	text    string // written out, where the field allows that
	literal bool
}

// maxSecret is more than any token or password, and less than a mistaken path.
const maxSecret = 64 << 10

// IsZero reports whether no secret was configured.
func (s Secret) IsZero() bool { return s == Secret{} }

// LiteralSecret is a Secret with its value written out, for defaults and tests.
func LiteralSecret(text string) Secret { return Secret{text: text, literal: true} }

// Read returns the secret, without one newline at its end. It reads the file or
// the environment at each call, so that a rotated secret is seen. Its errors
// name the file or variable, never the value.
func (s Secret) Read() (string, error) {
	switch {
	case s.literal:
		return s.text, nil
	case s.Env != "":
		value, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return s.trimmed(value)
	case s.File != "":
		value, err := plainfile.Read(s.File, maxSecret)
		if err != nil {
			return "", fmt.Errorf("secret file %s: %w", s.File, err)
		}
		return s.trimmed(string(value))
	}
	return "", nil
}

func (s Secret) trimmed(value string) (string, error) {
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("%s is empty", s.place())
	}
	return value, nil
}

func (s Secret) place() string {
	if s.Env != "" {
		return "the environment variable " + s.Env
	}
	return "secret file " + s.File
}

// String returns ***.
func (s Secret) String() string { return "***" }

// Format prints *** whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "***") }

// MarshalText returns ***.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// decodeSecret reads {file: PATH}, {env: NAME} or, where allowed, a text.
func (d *decoder) decodeSecret(n *Node, into *Secret, literal bool) {
	if n.kind == Null && n.raw == "" {
		d.report(n, "has no value; write {file: PATH} or {env: NAME}, or remove the key")
		return
	}
	if n.kind != Map && n.kind != List && literal {
		n.doc.hide(n) // also where the part finds something wrong with it
		*into = Secret{text: n.text, literal: true}
		return
	}
	file, env := n.Key("file"), n.Key("env")
	if n.kind != Map || len(n.entries) != 1 || (file == nil) == (env == nil) {
		n.doc.hide(n)
		d.report(n, "is a secret, and secrets are not written here; %s", secretRemedy(n))
		return
	}
	given := n.entries[0].value
	if given.kind != Text || given.text == "" {
		d.report(given, "must be a text; write {file: PATH} or {env: NAME}")
		return
	}
	if env != nil {
		*into = Secret{Env: given.text}
	} else {
		*into = Secret{File: given.At(d.problems).File(given.text)}
		if info, err := os.Stat(into.File); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&^0o640 != 0 {
			d.report(given, "mode %#o lets others read or change the secret; chmod 0640 %s", info.Mode().Perm(), into.File)
			return
		}
	}
	value, err := into.Read()
	if err != nil {
		d.report(given, "%v", err)
		return
	}
	n.doc.secrets = append(n.doc.secrets, found{n.Path, sha256.Sum256([]byte(value))})
}

func secretRemedy(n *Node) string {
	if name, ok := strings.CutPrefix(n.raw, "${"); ok && n.kind != Map {
		if name, ok = strings.CutSuffix(name, "}"); ok && variableName(name) {
			return fmt.Sprintf("write {env: %s}", name)
		}
	}
	return "write {file: PATH} or {env: NAME}"
}
