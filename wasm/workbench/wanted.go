package workbench

import (
	"fmt"
	"slices"

	"github.com/runnel-log/runnel/internal/config"
)

// want reads what is wanted of a step; nil for nothing written.
func (r *caseReader) want(n *config.Node, s Step) *Want {
	if n == nil {
		return nil
	}
	var t wantText
	config.Decode(n, &t, r.ps)
	w := &Want{Dropped: t.Dropped, Held: t.Held, Metrics: t.Metrics, Failed: t.Failed, Refused: t.Refused}
	if n.Key("log") != nil {
		w.Log = append([]string{}, t.Log...)
	}
	if text, scalar := "", false; t.Records != nil {
		if text, scalar = t.Records.Text(); scalar && text == "same" {
			w.Same = true
			if s.Records == nil {
				t.Records.At(r.ps).Problemf("is same, in a step without records; write them")
			}
		} else {
			w.Records = r.wanted(t.Records)
		}
	}
	if t.Dead != nil {
		w.Dead = r.wanted(t.Dead)
	}
	w.State = r.state(t.State)
	if w.Refused != "" && len(n.Keys()) > 1 {
		n.At(r.ps).Key("refused").Problemf("stands beside other keys; a module that refuses its config does nothing else")
	}
	return w
}

// wanted reads a list of wanted records.
func (r *caseReader) wanted(n *config.Node) []Fields {
	if n.Kind() != config.List {
		n.At(r.ps).Problemf("is %s; write a list of records, or same", n.Kind())
		return nil
	}
	all := []Fields{}
	for _, item := range n.Items() {
		all = append(all, r.wantedRecord(item))
	}
	return all
}

// wantedRecord reads one wanted record, which may be like one that went in.
func (r *caseReader) wantedRecord(n *config.Node) Fields {
	fields := Fields{}
	if like := n.Key("like"); like != nil {
		text, _ := like.Text()
		var number int
		if _, err := fmt.Sscanf(text, "%d", &number); err != nil || number < 1 || number > len(r.seen) {
			like.At(r.ps).Problemf("names no record that went in before; write a number from 1 to %d", len(r.seen))
		} else {
			for name, value := range r.seen[number-1] {
				if !slices.Contains(hostFields[:], name) {
					fields[name] = value
				}
			}
		}
	}
	_, written, err := parseRecord([]byte(recordJSON(n)))
	if err != nil {
		n.At(r.ps).Problemf("is no record: %v", err)
		return fields
	}
	for name, value := range written {
		fields[name] = value
	}
	if n.Key("like") != nil {
		for _, name := range removed(n, "") {
			delete(fields, name)
		}
		for _, name := range removed(n.Key("attrs"), attrPrefix) {
			delete(fields, name)
		}
	}
	return fields
}

// removed names the keys under which nothing is written, or ~.
func removed(n *config.Node, prefix string) (names []string) {
	for i, key := range n.Keys() {
		if n.Items()[i].Kind() == config.Null {
			names = append(names, prefix+key)
		}
	}
	return names
}
