package relay

import (
	"container/list"

	"github.com/runnel-log/runnel/internal/relaywire"
)

// mostAway is about how many bytes the accounts take of agents that are away.
const mostAway = 16 << 20

// away is the accounts of agents that are away, until they come back: one of each, and those that went last where
// they are too many. Its user guards it. The zero value has none.
type away struct {
	of    map[relaywire.Agent]*list.Element
	order list.List // of *awayBy; who went first is in front
	size  int
}

type awayBy struct {
	agent relaywire.Agent
	account
	bytes int
}

// put keeps the account of an agent whose session has ended, in place of one that it has.
func (w *away) put(agent relaywire.Agent, a account) {
	w.take(agent)
	if a.size() == 0 {
		return
	}
	if w.of == nil {
		w.of = make(map[relaywire.Agent]*list.Element)
	}
	by := &awayBy{agent, a, 256 + a.size()}
	w.of[agent] = w.order.PushBack(by)
	for w.size += by.bytes; w.size > mostAway; {
		w.drop(w.order.Front())
	}
}

// take returns the account of an agent, and keeps it no longer.
func (w *away) take(agent relaywire.Agent) account {
	e := w.of[agent]
	if e == nil {
		return account{}
	}
	w.drop(e)
	return e.Value.(*awayBy).account
}

func (w *away) drop(e *list.Element) {
	by := e.Value.(*awayBy)
	w.order.Remove(e)
	delete(w.of, by.agent)
	w.size -= by.bytes
}
