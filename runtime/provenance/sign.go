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

// Sign returns the program that signs a file, and the name of the signature. The key is
// one of minisign's, or ssh's: of a public key the private one is in ssh-agent(1).
func Sign(key, file string) (*exec.Cmd, string, error) {
	mini, err := isMinisign(key)
	switch {
	case err != nil:
		return nil, "", err
	case mini:
		return exec.Command("minisign", "-S", "-s", key, "-m", file), file + ".minisig", nil
	}
	return exec.Command("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, file), file + ".sig", nil
}

// Verify checks the signature of what was read from a file, which is beside that: with a
// public key of minisign's, or a file of allowed signers (see ssh-keygen(1)). It returns
// who has signed. run executes a command and returns its output.
func Verify(signers, file string, data []byte, run func(*exec.Cmd) ([]byte, error)) (string, error) {
	mini, err := isMinisign(signers)
	switch {
	case err != nil:
		return "", err
	case mini:
		return "the key of " + signers, verifyMinisign(signers, file+".minisig", data, run)
	}
	out, err := run(exec.Command("ssh-keygen", "-Y", "find-principals", "-s", file+".sig", "-f", signers))
	if err != nil {
		return "", fmt.Errorf("no key of %s has made %s.sig: %w", signers, file, err)
	}
	who, _, _ := strings.Cut(string(out), "\n")
	check := exec.Command("ssh-keygen", "-Y", "verify", "-f", signers, "-I", who, "-n", namespace, "-s", file+".sig")
	check.Stdin = bytes.NewReader(data)
	if _, err = run(check); err != nil {
		return "", fmt.Errorf("%s.sig: %w", file, err)
	}
	return who, nil
}

// verifyMinisign has minisign(1) read the data from a file of its own: the one from which
// they come may be another by now.
func verifyMinisign(key, signature string, data []byte, run func(*exec.Cmd) ([]byte, error)) error {
	f, err := os.CreateTemp("", "mayfly-statement-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err = run(exec.Command("minisign", "-V", "-q", "-p", key, "-m", f.Name(), "-x", signature)); err != nil {
		return fmt.Errorf("%s: %w", signature, err)
	}
	return nil
}
