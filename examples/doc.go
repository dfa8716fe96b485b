// Package examples holds configurations and modules that run as they stand:
// one folder each, with a README for people. Its tests run every one of them on
// real input, so none can rot. Nothing may import it.
package examples
