package main

import (
	"github.com/runnel-log/runnel/agent"
	"github.com/runnel-log/runnel/agent/inputs"
	httpin "github.com/runnel-log/runnel/agent/inputs/http"
	relayin "github.com/runnel-log/runnel/agent/inputs/relay"
	relpin "github.com/runnel-log/runnel/agent/inputs/relp"
	syslogin "github.com/runnel-log/runnel/agent/inputs/syslog"
	"github.com/runnel-log/runnel/forwarders"
	"github.com/runnel-log/runnel/forwarders/file"
	relayout "github.com/runnel-log/runnel/forwarders/relay"
	relpout "github.com/runnel-log/runnel/forwarders/relp"
	"github.com/runnel-log/runnel/forwarders/stdout"
	syslogout "github.com/runnel-log/runnel/forwarders/syslog"
	"github.com/runnel-log/runnel/forwarders/webhook"
)

// kinds lists every kind of input and forwarder that this binary has.
func kinds() agent.Kinds {
	return agent.Kinds{
		Inputs: []inputs.Kind{
			syslogin.Kind,
			relpin.Kind,
			httpin.Kind,
			relayin.Kind,
		},
		Forwarders: []forwarders.Kind{
			file.Kind,
			relayout.Kind,
			relpout.Kind,
			stdout.Kind,
			syslogout.Kind,
			webhook.Kind,
		},
	}
}
