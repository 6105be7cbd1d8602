package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// A program compresses or decompresses. Its input may be malicious and take it over, so
// it is confined: it has ids that no other process has, and no network. It can neither
// see nor signal other processes.
type program struct {
	here here.Here
	*exec.Cmd
	name string
	wait func() error
}

// own are the namespaces that a program gets.
const own = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC

// limits are the resource limits of a decompressing program: more memory than its
// option allows (256 MiB, and what threads and a C library reserve), the CPU time of 64
// GiB of bzip2 on a slow machine, and no files to write.
var limits = []string{"--as=4294967296", "--cpu=28800", "--fsize=0", "--core=0"}

func command(ctx context.Context, h here.Here, f format, args []string) (*program, error) {
	path, err := exec.LookPath(f.program)
	if err != nil {
		return nil, fmt.Errorf("%s: %s is not installed: apt-get install %s", f.name, f.program, f.pkg)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C", "MALLOC_ARENA_MAX=2"}, "/"
	cmd.Stderr = &message{}
	return &program{here: h, Cmd: cmd, name: f.program}, nil
}

func (p *program) start(limits []string) (err error) {
	c := nsexec.Confinement{Namespaces: own, Limits: limits}
	c.UID, c.IDs = p.here.Stranger()
	c.GID = c.UID
	p.wait, err = nsexec.StartConfined(p.Cmd, c)
	return err
}

// run starts a program that reads r, and returns its output.
func run(ctx context.Context, h here.Here, f format, args []string, r io.Reader) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	p, err := command(ctx, h, f, args)
	if err != nil {
		cancel()
		return nil, err
	}
	p.Stdin = r
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.start(limits)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", f.program, err)
	}
	return &decompressor{out: out, program: p, cancel: cancel}, nil
}

type decompressor struct {
	out     io.Reader
	program *program
	cancel  func()
	end     error // not nil: it was waited for
}

// Read returns the program's error instead of io.EOF if the program has failed.
func (d *decompressor) Read(b []byte) (int, error) {
	if d.end != nil {
		return 0, d.end
	}
	n, err := d.out.Read(b)
	if err == io.EOF {
		if err = d.program.outcome(); err == nil {
			err = io.EOF
		}
		d.end = err
	}
	return n, err
}

func (d *decompressor) Close() error {
	d.cancel()
	if d.end == nil {
		d.end = os.ErrClosed
		_ = d.program.wait() // it was killed
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

type compressor struct {
	io.WriteCloser
	program *program
}

func (c *compressor) Close() error {
	return errors.Join(c.WriteCloser.Close(), c.program.outcome())
}

// outcome waits until the program ends. If the program has failed, the error contains
// its message.
func (p *program) outcome() error {
	err := p.wait()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(*p.Stderr.(*message))); text != "" {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// A message is the beginning of a program's standard error.
type message []byte

func (m *message) Write(b []byte) (int, error) {
	*m = append(*m, b[:min(len(b), 400-min(400, len(*m)))]...)
	return len(b), nil
}
