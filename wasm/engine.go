package wasm

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/tetratelabs/wazero"
)

// Engine is what runs the guests. Both give the same bytes; the interpreter is
// slower, needs no memory that can be both written and run, and has no code of a
// guest's making in it.
type Engine uint8

// The engines. The zero value compiles where the platform can.
const (
	Auto Engine = iota
	Compiler
	Interpreter
)

// String returns the engine's name in the config.
func (e Engine) String() string {
	switch e {
	case Compiler:
		return "compiler"
	case Interpreter:
		return "interpreter"
	}
	return "auto"
}

// ParseEngine returns the engine of a name in the config.
func ParseEngine(name string) (Engine, error) {
	for _, e := range []Engine{Auto, Compiler, Interpreter} {
		if name == e.String() {
			return e, nil
		}
	}
	return Auto, fmt.Errorf("%q is no engine; write auto, compiler or interpreter", name)
}

// config returns the configuration of a runtime with that engine.
func (e Engine) config() wazero.RuntimeConfig {
	switch e {
	case Compiler:
		return wazero.NewRuntimeConfigCompiler()
	case Interpreter:
		return wazero.NewRuntimeConfigInterpreter()
	}
	return wazero.NewRuntimeConfig()
}

// interprets reports whether a runtime interprets. wazero decides that by itself
// and does not tell, so we look; if it is not where it was when this was
// written, we take it that it compiles (TestInterpreterIsRecognised).
func interprets(rt wazero.Runtime) bool {
	v := reflect.ValueOf(rt)
	for _, field := range []string{"store", "Engine"} {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return false
		}
		v = v.FieldByName(field)
	}
	return v.Kind() == reflect.Interface && strings.HasPrefix(v.Elem().Type().String(), "*interpreter.")
}
