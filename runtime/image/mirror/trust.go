package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	body := data
	at := bytes.Index(data, append([]byte("\n"), signatureStart...))
	if at >= 0 {
		body = data[:at+1]
	}
	if t.Signers != "" {
		if at < 0 {
			return Index{}, errors.New("the index is not signed: `runtime image publish --sign KEY` signs it")
		}
		if err := t.verify(ctx, body, data[at+1:]); err != nil {
			return Index{}, fmt.Errorf("the index's signature: %w", err)
		}
	}
	return parseIndex(body)
}

func (t Trust) verify(ctx context.Context, body, signature []byte) error {
	if _, err := os.Stat(t.Signers); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "mayfly-signature-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(signature); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	find := exec.CommandContext(ctx, "ssh-keygen", "-Y", "find-principals", "-s", file.Name(), "-f", t.Signers)
	names, err := output(find)
	if err != nil {
		return fmt.Errorf("no key of %s has made it (%w)", t.Signers, err)
	}
	who, _, _ := strings.Cut(string(names), "\n")
	check := exec.CommandContext(ctx, "ssh-keygen", "-Y", "verify", "-f", t.Signers, "-I", who, "-n", namespace, "-s", file.Name())
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
