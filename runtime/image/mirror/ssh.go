package mirror

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A remote is the store of another host, by ssh(1), on which the same program is.
type remote struct {
	args  []string // of ssh: options and host
	name  string   // of the host, for errors
	store string   // "": the one of its policy
}

// plain are the characters of a path that a shell takes as it is.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-"

func parseSSH(text string) (Source, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("source %q: want ssh://[USER@]HOST[:PORT][/STORE]", text)
	}
	// A host that is gone is noticed within a minute.
	r := remote{name: u.Hostname(), args: []string{"-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15"}}
	if port := u.Port(); port != "" {
		r.args = append(r.args, "-p", port)
	}
	host := u.Hostname()
	if u.User != nil {
		if _, has := u.User.Password(); has || strings.HasPrefix(u.User.Username(), "-") {
			return nil, fmt.Errorf("source %q: want ssh://[USER@]HOST[:PORT][/STORE]", text)
		}
		host = u.User.Username() + "@" + host
	}
	r.args = append(r.args, "--", host)
	if u.Path != "" && u.Path != "/" {
		if strings.Trim(u.Path, plain) != "" {
			return nil, fmt.Errorf("source %q: the store's path may have letters, digits and ._-/ only", text)
		}
		r.store = u.Path
	}
	return r, nil
}

// command returns a command that runs the program there.
func (r remote) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"runtime", "image", "send"}, args...)
	if r.store != "" {
		args = append(args, "--store", r.store)
	}
	return exec.CommandContext(ctx, "ssh", append(r.args, args...)...)
}

func (r remote) Index(ctx context.Context) (Index, error) {
	data, err := output(r.command(ctx, "--index"))
	var index Index
	if err == nil {
		index, err = parseIndex(data)
	}
	if err != nil {
		return index, fmt.Errorf("source ssh://%s: %w", r.name, err)
	}
	return index, nil
}

// Open has the version sent: as a stream of btrfs-send(8) where both stores take it, else
// as an archive; and only the changes since a version that is here, if there is one.
func (r remote) Open(ctx context.Context, w Wanted) (*Content, error) {
	args := []string{w.Image.Name + "@" + fmt.Sprint(w.Version.Version)}
	base := w.nearest()
	c := &Content{Archive: w.Streams == nil || base != nil && (base.StreamID == "" || w.Streams[base.Digest] != base.StreamID)}
	if base != nil {
		c.Base = base.Digest
		args = append(args, "--parent", fmt.Sprint(base.Version))
	}
	if c.Archive {
		args = append(args, "--archive")
	}
	p := &sender{cmd: r.command(ctx, args...), ended: make(chan struct{})}
	p.cmd.Stderr = &p.said
	// A pipe of our own, since Wait closes the one of StdoutPipe.
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.File = in, out
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, notInstalled(p.cmd, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	c.ReadCloser, c.Failed = p, p.failed
	return c, nil
}

// A sender is a program whose output is read.
type sender struct {
	*os.File
	cmd   *exec.Cmd
	said  bytes.Buffer
	ended chan struct{} // closed when the program has ended
	err   error         // of Wait, then
}

// failedWithin is how long a sender that has failed may take to say so.
const failedWithin = 2 * time.Second

// failed returns the program's own error, if it has ended by itself.
func (p *sender) failed() error {
	select {
	case <-p.ended:
	case <-time.After(failedWithin):
		return nil
	}
	if p.err == nil {
		return nil
	}
	return failure(p.cmd, p.err, p.said.String())
}

// Close ends the program, if it still runs, and waits for it.
func (p *sender) Close() error {
	_ = p.cmd.Process.Kill()
	<-p.ended
	return p.File.Close()
}
