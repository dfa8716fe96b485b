// Package runnel is a WebAssembly-scriptable edge log agent: one daemon on
// every host that takes syslog, runs the user's own modules over it, keeps the
// streams durably, lets people query them in place, and forwards them.
//
// The folders are the map, and the arrows between them go one way:
//
//	cmd/runnel ─▶ agent ─▶ agent/inputs, agent/query, wasm, storage, forwarders ─▶ record
//
//	record/      what flows: Record, Batch, the one encoding
//	wasm/        runs guests; the only room that knows wazero
//	storage/     durable streams, cursors; the only room that knows bbolt
//	forwarders/  the contract, and one folder per kind
//	agent/       wires the rooms: config, pipeline, intake, delivery, reload
//	guest-sdk/   ABI.md and one folder per guest language
//	internal/    helpers with at least two users
//	cmd/runnel/  one file per verb; parts.go lists every kind this binary has
//	cmd/oracle/  what a relay has lost: sends, kills, judges; any relay
//	examples/    each runs as it stands
//	packaging/   the units for systemd
//
// layout_test.go keeps the arrows, the doors and the package comments true.
// docs/architecture.md says more; docs/rationale.md says why.
package runnel
