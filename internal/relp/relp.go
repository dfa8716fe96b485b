// Package relp is the wire format of RELP, the Reliable Event Logging Protocol
// (specification 0.0.1 of 2008, and librelp 1.11 where that is silent): frames,
// the offers of an open, and answers. Reader cuts a stream into frames within
// fixed bounds, the Append functions write them. It knows nothing of sessions:
// what may follow what is the business of the input and the forwarder that
// share it. No byte from outside may make it panic, or hold more than it was
// told to.
package relp

import "strconv"

// The commands. Hints travel with transaction 0 and are never answered.
const (
	Open        = "open"
	Syslog      = "syslog"
	Close       = "close"
	Rsp         = "rsp"
	Abort       = "abort"
	StartTLS    = "starttls"
	ServerClose = "serverclose" // a hint
)

// MaxTxnr is the last transaction number; 1 follows it, and 0 is for hints.
const MaxTxnr = 999_999_999

// MaxVersion is the newest relp_version: 1 is the specification's, and librelp
// calls itself 0.
const MaxVersion = 1

// Next returns the transaction number after txnr.
func Next(txnr uint32) uint32 {
	if txnr >= MaxTxnr {
		return 1
	}
	return txnr + 1
}

// Distance returns how many steps of Next lead from one transaction number to
// another; neither may be 0.
func Distance(from, to uint32) uint32 {
	if to >= from {
		return to - from
	}
	return to + MaxTxnr - from
}

// AppendFrame appends a frame. Its command has 1 to 32 letters, and data at most
// 999,999,999 bytes; both are the caller's to know.
func AppendFrame(dst []byte, txnr uint32, command string, data []byte) []byte {
	dst = AppendHeader(dst, txnr, command, len(data))
	if len(data) > 0 {
		dst = append(append(dst, ' '), data...)
	}
	return append(dst, '\n')
}

// AppendHeader appends what stands before the data of a frame, without the blank
// between them that is there only where there is data.
func AppendHeader(dst []byte, txnr uint32, command string, size int) []byte {
	dst = strconv.AppendUint(dst, uint64(txnr), 10)
	dst = append(append(append(dst, ' '), command...), ' ')
	return strconv.AppendInt(dst, int64(size), 10)
}

// AppendOK appends the answer that says a transaction has succeeded.
func AppendOK(dst []byte, txnr uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(txnr), 10)
	return append(dst, " rsp 6 200 OK\n"...)
}

// AppendError appends the answer that says a transaction has failed. text is cut
// to the 80 bytes that an answer may have, and may hold no LF.
func AppendError(dst []byte, txnr uint32, text string) []byte {
	return AppendFrame(dst, txnr, Rsp, []byte("500 "+text[:min(len(text), maxText)]))
}
