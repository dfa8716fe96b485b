package expression

import (
	"github.com/runnel-log/runnel/record"
)

// kind is what is known of an expression's type before it runs.
type kind uint8

const (
	anything kind = iota // known only when it runs: an attribute, for one
	nothing              // nil
	number
	text
	boolean
	instant  // a point in time
	duration // a length of time
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"anything", "nil", "a number", "a text", "true or false", "a time", "a duration", "a list", "a mapping"}[k]
}

// The fields of a record, in the order of fieldNames.
const (
	fieldTime = iota
	fieldReceived
	fieldSeverity
	fieldFacility
	fieldHost
	fieldApp
	fieldProcID
	fieldMsgID
	fieldMessage
	fieldStream
	fieldInput
	fieldPeer
	fieldAgent
)

var fieldNames = []string{"time", "received", "severity", "facility", "host", "app", "procid", "msgid",
	"message", "stream", "input", "peer", "agent", attrsName}

// attrsName is the name that the attributes go by.
const attrsName = "attrs"

// fieldNamed returns the number of a field, and -1 for attrs and unknown names.
func fieldNamed(name string) int {
	for i, f := range fieldNames[:fieldAgent+1] {
		if f == name {
			return i
		}
	}
	return -1
}

func fieldKind(field int) kind {
	switch field {
	case fieldTime, fieldReceived:
		return instant
	case fieldSeverity, fieldFacility:
		return number
	}
	return text
}

// fieldBytes returns a text field; nil if it is absent. The message is never absent.
func fieldBytes(v record.View, field int) []byte {
	var b []byte
	switch field {
	case fieldHost:
		b = v.Host()
	case fieldApp:
		b = v.App()
	case fieldProcID:
		b = v.ProcID()
	case fieldMsgID:
		b = v.MsgID()
	case fieldMessage:
		return v.Message()
	case fieldInput:
		b = v.Input()
	case fieldPeer:
		b = v.Peer()
	case fieldAgent:
		b = v.Agent()
	}
	if len(b) == 0 {
		return nil
	}
	return b
}

// fieldValue returns a field as the VM sees it.
func fieldValue(v record.View, stream string, field int) any {
	switch field {
	case fieldTime, fieldReceived:
		ns := v.Received()
		if field == fieldTime {
			ns = v.Time()
		}
		if ns == record.NoTime {
			return nil
		}
		return record.TimeOf(ns)
	case fieldSeverity:
		if v.Severity() == record.Absent {
			return nil
		}
		return int(v.Severity())
	case fieldFacility:
		if v.Facility() == record.Absent {
			return nil
		}
		return int(v.Facility())
	case fieldStream:
		if s := v.Stream(); len(s) > 0 {
			return string(s)
		}
		if stream == "" {
			return nil
		}
		return stream
	}
	if b := fieldBytes(v, field); b != nil || field == fieldMessage {
		return string(b)
	}
	return nil
}

// streamValue is the stream a record was sent to, or is stored in.
func streamValue(v record.View, s *scope) value {
	b := v.Stream()
	if len(b) == 0 {
		b = s.streamBytes
	}
	if len(b) == 0 {
		return value{}
	}
	return value{kind: isText, bytes: b}
}
