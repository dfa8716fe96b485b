// Package pki makes a private certificate authority, and certificates for the
// agents of a chain, for people who have neither. All of it is files in one folder: ca.pem
// and ca.key, and for each host HOST.pem and HOST.key. It hides what a certificate
// has to say so that both ends of a relay take it. It must never write over a
// file, or leave a key that others may read.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/runnel-log/runnel/internal/plainfile"
)

// The files of an authority.
const (
	CertFile = "ca.pem" // for every agent: client_ca of its input, ca of its forwarder
	KeyFile  = "ca.key" // for whoever issues certificates, and nobody else
)

// early is how much a certificate is valid before it was made: clocks differ.
const early = time.Hour

// maxFile is more than any certificate or key has.
const maxFile = 1 << 20

// An Authority signs certificates.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// ErrExists: what was to be made is there already, and stays as it is.
var ErrExists = errors.New("already there")

// Init makes an authority that is good for the given time, and its files in dir, which
// it makes if need be. If one of the two is there already, it changes nothing and
// returns ErrExists.
func Init(dir, name string, valid time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-early), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := writePair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile), der, key); err != nil {
		return nil, err
	}
	return Open(dir)
}

// ErrNone: there is no authority in a folder.
var ErrNone = errors.New("no authority")

// Open reads the authority in dir. Without one its error is ErrNone.
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	der, err := readPEM(a.CertFile(), "CERTIFICATE")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNone, dir)
	}
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("%s: %w", a.CertFile(), err)
	}
	file := filepath.Join(dir, KeyFile)
	if der, err = readPEM(file, "PRIVATE KEY"); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds a key that cannot sign", file)
	}
	a.key = signer
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(a.cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", file, a.CertFile())
	}
	if !a.cert.IsCA {
		return nil, fmt.Errorf("%s is no authority's certificate: it may sign nothing", a.CertFile())
	}
	return a, nil
}

// CertFile is the file of the authority's certificate.
func (a *Authority) CertFile() string { return filepath.Join(a.dir, CertFile) }

// Until is when the authority ends, and with it all that it has signed.
func (a *Authority) Until() time.Time { return a.cert.NotAfter }

// serial is a number that no other certificate has: 127 random bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[0] &= 0x7f
	b[15] |= 1 // nor is it 0
	return new(big.Int).SetBytes(b[:])
}

// readPEM returns the first block of a type in a file.
func readPEM(file, kind string) ([]byte, error) {
	text, err := plainfile.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%s has no %s in PEM form", file, kind)
		}
		if block.Type == kind {
			return block.Bytes, nil
		}
		text = rest
	}
}

// writePair writes a certificate and its key, both or none, and nothing over
// anything. What was written is on disk when it returns.
func writePair(certFile, keyFile string, der []byte, key crypto.Signer) (err error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(certFile); err == nil {
		return fmt.Errorf("%s: %w", certFile, ErrExists)
	}
	if err := writeNew(keyFile, "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	if err := writeNew(certFile, "CERTIFICATE", der, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(file, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", file, ErrExists)
	}
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_ = pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}) // fails on bad headers only, and there are none
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}
