package agent

import _ "embed" // for the sample

// Sample is a configuration with every key that is not a kind's own, with its
// default and a comment: documentation, help text and a test case in one.
//
//go:embed sample.yaml
var Sample string
