package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Trust says whose published directories are believed.
type Trust struct {
	Signers  string // a file of allowed signers, see ssh-keygen(1); "": signatures are not looked at
	Unsigned bool   // believe what comes by http:// without a signature
}

// namespace is what signatures of an index are for (ssh-keygen -n).
const namespace = "mayfly-images"

// A signed index is the index and the signature of ssh-keygen -Y sign in one file, so
// that nobody gets one that does not belong to the other.
var signatureStart = []byte("-----BEGIN SSH SIGNATURE-----")

// open reads an index, and checks its signature before anything else.
func (t Trust) open(ctx context.Context, data []byte) (Index, error) {
	body, signature := split(data)
	if t.Signers != "" {
		if signature == nil {
			return Index{}, errors.New("the index is not signed: `runtime image publish --sign KEY` signs it")
		}
		if err := t.verify(ctx, body, signature); err != nil {
			return Index{}, fmt.Errorf("the index's signature: %w", err)
		}
	}
	return parseIndex(body)
}

func (t Trust) verify(ctx context.Context, body, signature []byte) error {
	if _, err := os.Stat(t.Signers); err != nil {
		return err
	}
	file, err := temporary(signature)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	find := exec.CommandContext(ctx, "ssh-keygen", "-Y", "find-principals", "-s", file, "-f", t.Signers)
	names, err := output(find)
	if err != nil {
		return fmt.Errorf("no key of %s has made it (%w)", t.Signers, err)
	}
	who, _, _ := strings.Cut(string(names), "\n")
	check := exec.CommandContext(ctx, "ssh-keygen", "-Y", "verify", "-f", t.Signers, "-I", who, "-n", namespace, "-s", file)
	check.Stdin = bytes.NewReader(body)
	_, err = output(check)
	return err
}

// sign signs an index with an ssh key: a private key's file, or a public key's whose
// private key is in ssh-agent(1).
func sign(ctx context.Context, key string, body []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-Y", "sign", "-f", key, "-n", namespace)
	cmd.Stdin = bytes.NewReader(body)
	signature, err := output(cmd)
	if err != nil {
		return nil, fmt.Errorf("sign the index with %s: %w", key, err)
	}
	return append(body, signature...), nil
}

// signedBy returns whether a signed index was signed with a key.
func signedBy(ctx context.Context, key string, data []byte) (bool, error) {
	body, signature := split(data)
	if signature == nil {
		return false, nil
	}
	print, err := output(exec.CommandContext(ctx, "ssh-keygen", "-l", "-f", key))
	if err != nil {
		return false, fmt.Errorf("the key %s: %w", key, err)
	}
	fields := strings.Fields(string(print)) // bits, fingerprint, comment
	if len(fields) < 2 {
		return false, fmt.Errorf("the key %s: ssh-keygen tells no fingerprint", key)
	}
	file, err := temporary(signature)
	if err != nil {
		return false, err
	}
	defer os.Remove(file)
	check := exec.CommandContext(ctx, "ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", file)
	check.Stdin = bytes.NewReader(body)
	said, err := output(check)
	return err == nil && slices.Contains(strings.Fields(string(said)), fields[1]), nil
}

// split returns the index and its signature; nil: there is none.
func split(data []byte) (body, signature []byte) {
	at := bytes.Index(data, append([]byte("\n"), signatureStart...))
	if at < 0 {
		return data, nil
	}
	return data[:at+1], data[at+1:]
}

// temporary writes a file that only root can read, and returns its name.
func temporary(data []byte) (string, error) {
	file, err := os.CreateTemp("", "mayfly-signature-")
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}
