package provenance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// namespace is what signatures of statements are for (ssh-keygen -n).
const namespace = "mayfly-provenance"

// isMinisign tells whether a file is a key of minisign(1): its first line says so.
func isMinisign(key string) (bool, error) {
	f, err := os.Open(key)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var first [256]byte
	n, err := io.ReadFull(f, first[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.HasPrefix(first[:n], []byte("untrusted comment:")), nil
}

// A Signature is what stands beside a statement.
type Signature struct {
	Suffix string // of its file's name
	Data   []byte
}

// Suffixes are those that signatures have.
var Suffixes = []string{".sig", ".minisig"}

// Sign has a program sign the data. The key is one of minisign's, or ssh's: of a public
// key the private one is in ssh-agent(1). run executes a command and returns its
// output. A program reads no file that the build could have changed.
func Sign(key string, data []byte, run func(*exec.Cmd) ([]byte, error)) (Signature, error) {
	mini, err := isMinisign(key)
	if err != nil {
		return Signature{}, err
	}
	if !mini {
		cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace)
		cmd.Stdin = bytes.NewReader(data)
		out, err := run(cmd)
		return Signature{".sig", out}, err
	}
	name, err := temporary(data)
	if err != nil {
		return Signature{}, err
	}
	defer os.Remove(name)
	defer os.Remove(name + ".minisig")
	cmd := exec.Command("minisign", "-S", "-s", key, "-m", name, "-t", "mayfly provenance")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // for a password
	if _, err := run(cmd); err != nil {
		return Signature{}, err
	}
	out, err := os.ReadFile(name + ".minisig")
	return Signature{".minisig", out}, err
}

// temporary writes a file that only the caller can read, and returns its name.
func temporary(data []byte) (string, error) {
	f, err := os.CreateTemp("", "mayfly-statement-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Verify checks the signature of what was read from a file, which is beside that: with
// a public key of minisign's, or a file of allowed signers (see ssh-keygen(1)). It
// returns who has signed. run executes a command and returns its output.
func Verify(signers, file string, data []byte, run func(*exec.Cmd) ([]byte, error)) (string, error) {
	mini, err := isMinisign(signers)
	if err != nil {
		return "", err
	}
	signature := file + map[bool]string{false: ".sig", true: ".minisig"}[mini]
	if _, err := os.Stat(signature); err != nil {
		return "", fmt.Errorf("it is not signed: %w", err)
	}
	if mini {
		return "the key of " + signers, verifyMinisign(signers, signature, data, run)
	}
	out, err := run(exec.Command("ssh-keygen", "-Y", "find-principals", "-s", signature, "-f", signers))
	if err != nil {
		return "", fmt.Errorf("no key of %s has made %s: %w", signers, signature, err)
	}
	who, _, _ := strings.Cut(string(out), "\n")
	check := exec.Command("ssh-keygen", "-Y", "verify", "-f", signers, "-I", who, "-n", namespace, "-s", signature)
	check.Stdin = bytes.NewReader(data)
	if _, err = run(check); err != nil {
		return "", fmt.Errorf("%s: %w", signature, err)
	}
	return who, nil
}

// verifyMinisign has minisign(1) read the data from a file of its own: the one from
// which they come may be another by now.
func verifyMinisign(key, signature string, data []byte, run func(*exec.Cmd) ([]byte, error)) error {
	name, err := temporary(data)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	if _, err = run(exec.Command("minisign", "-V", "-q", "-p", key, "-m", name, "-x", signature)); err != nil {
		return fmt.Errorf("%s: %w", signature, err)
	}
	return nil
}
