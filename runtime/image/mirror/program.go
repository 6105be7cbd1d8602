package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// output runs a program, and returns what it writes, up to the size of an index.
func output(cmd *exec.Cmd) ([]byte, error) {
	var data bytes.Buffer
	err := fetch(cmd, &data, maxIndex)
	return data.Bytes(), err
}

// fetch runs a program, and writes its output to w, at most so many bytes.
func fetch(cmd *exec.Cmd, w io.Writer, most int64) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return notInstalled(cmd, err)
	}
	_, err = io.Copy(w, io.LimitReader(out, most))
	if more, _ := io.CopyN(io.Discard, out, 1); err == nil && more > 0 {
		err = fmt.Errorf("%s: more came than the %d bytes that were to come", cmd.Args[0], most)
	}
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = failure(cmd, ended, said.String())
	}
	return err
}

// packages are Debian's of the programs that package mirror runs.
var packages = map[string]string{"ssh": "openssh-client", "ssh-keygen": "openssh-client", "curl": "curl"}

func notInstalled(cmd *exec.Cmd, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed: apt-get install %s", cmd.Args[0], packages[cmd.Args[0]])
	}
	return err
}

// failure is the error of a program, with the last line that it said.
func failure(cmd *exec.Cmd, err error, said string) error {
	said = strings.TrimSpace(said)
	if at := strings.LastIndexByte(said, '\n'); at >= 0 {
		said = said[at+1:]
	}
	if said == "" {
		return fmt.Errorf("%s: %w", cmd.Args[0], err)
	}
	return fmt.Errorf("%s: %s", cmd.Args[0], strings.TrimPrefix(said, cmd.Args[0]+": "))
}
