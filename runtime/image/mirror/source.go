package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mayfly/runtime/image"
)

// Parse reads the name of a source: ssh://[USER@]HOST[:PORT][/STORE], http:// or https://
// of a published directory, or such a directory's path. store is where the images go, and
// where unfinished downloads are kept.
func Parse(text string, trust Trust, store *image.Store) (Source, error) {
	scheme, _, is := strings.Cut(text, "://")
	switch {
	case !is && text == "":
		return nil, errors.New("the source is empty: want ssh://HOST, https://HOST/PATH or a directory")
	case !is:
		return directory{filepath.Clean(text), trust}, nil
	case scheme == "ssh":
		if trust.Signers != "" {
			return nil, errors.New("--signers is for published directories: who answers at ssh:// is known by ssh(1)")
		}
		if store.Here.Rootless() {
			return nil, errors.New("root of a user namespace has not your keys for ssh(1): have `ssh HOST runtime image send --archive IMAGE` write to `runtime image receive`")
		}
		return parseSSH(text)
	case scheme == "http" || scheme == "https":
		return parseWeb(text, trust, store)
	}
	return nil, fmt.Errorf("source %q: want ssh://HOST, https://HOST/PATH or a directory", text)
}

// choose returns the file of a wanted version: the changes, if what they build on is
// here.
func (w Wanted) choose() (File, error) {
	if w.Changes != nil {
		if _, ok := w.Here[w.Changes.Base]; ok && (w.Whole == nil || w.Changes.Bytes < w.Whole.Bytes) {
			return *w.Changes, nil
		}
	}
	if w.Whole == nil {
		return File{}, errors.New("the source's index names no file of it")
	}
	return *w.Whole, nil
}

// A directory is a published directory, as on a network file system.
type directory struct {
	path  string
	trust Trust
}

func (d directory) Index(ctx context.Context) (Index, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return Index{}, fmt.Errorf("open the source: %w", err)
	}
	defer root.Close()
	data, err := readIndex(root)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("there is no %s: `runtime image publish %s` makes it", IndexName, d.path)
	}
	var index Index
	if err == nil {
		index, err = d.trust.open(ctx, data)
	}
	if err != nil {
		return index, fmt.Errorf("source %s: %w", d.path, err)
	}
	return index, nil
}

// readIndex reads the index of an open directory.
func readIndex(root *os.Root) ([]byte, error) {
	info, err := root.Stat(IndexName)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait
		return nil, fmt.Errorf("%s is no file", IndexName)
	}
	file, err := root.Open(IndexName)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file)
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxIndex+1))
	if err == nil && len(data) > maxIndex {
		err = fmt.Errorf("the index has more than %d bytes", maxIndex)
	}
	return data, err
}

func (d directory) Open(_ context.Context, w Wanted) (*Content, error) {
	f, err := w.choose()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(f.Name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() != f.Bytes) {
		err = fmt.Errorf("%s has %d bytes, the index says %d", filepath.Join(d.path, f.Name), info.Size(), f.Bytes)
	}
	if err != nil {
		return nil, err
	}
	file, err := root.Open(f.Name)
	if err != nil {
		return nil, err
	}
	return &Content{ReadCloser: file, Archive: true, Base: f.Base}, nil
}

// A web is a published directory behind a web server. curl(1) gets its files: it knows
// proxies, certificates and interrupted downloads.
type web struct {
	url   string // without a slash at the end
	trust Trust
	store *image.Store
}

func parseWeb(text string, trust Trust, store *image.Store) (Source, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("source %q: want https://HOST/PATH", text)
	}
	if u.User != nil {
		return nil, errors.New("a source with a user or password would show it to everybody: they belong into root's .netrc, see curl(1)")
	}
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if u.Scheme == "http" && trust.Signers == "" && !trust.Unsigned && !local {
		return nil, fmt.Errorf("source %s: whoever is on the way can change what comes by http://: give the file of allowed signers with --signers, use https://, or say --unsigned", text)
	}
	return web{strings.TrimRight(u.String(), "/"), trust, store}, nil
}

// curl returns a command that gets a file. It gives up where nothing comes for a minute.
// What was asked for by https does not come by http.
func (s web) curl(ctx context.Context, name string, args ...string) *exec.Cmd {
	protocols := "=http,https"
	if strings.HasPrefix(s.url, "https:") {
		protocols = "=https"
	}
	args = append([]string{"--silent", "--show-error", "--fail", "--location", "--netrc-optional", "--proto", protocols, "--proto-redir", protocols,
		"--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60"}, args...)
	return exec.CommandContext(ctx, "curl", append(args, "--", s.url+"/"+name)...)
}

func (s web) Index(ctx context.Context) (Index, error) {
	cmd := s.curl(ctx, IndexName, "--compressed", "--max-filesize", fmt.Sprint(maxIndex))
	data, err := output(cmd)
	var index Index
	if err == nil {
		index, err = s.trust.open(ctx, data)
	}
	if err != nil {
		return index, fmt.Errorf("source %s: %w", s.url, err)
	}
	return index, nil
}

// output runs a program, and returns what it writes, up to the size of an index.
func output(cmd *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, notInstalled(cmd, err)
	}
	data, err := readBounded(out)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = failure(cmd, ended, said.String())
	}
	return data, err
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

// Open gets a file, and goes on where an earlier download has ended.
func (s web) Open(ctx context.Context, w Wanted) (*Content, error) {
	f, err := w.choose()
	if err != nil {
		return nil, err
	}
	part, err := s.store.OpenPart(f.SHA256)
	if err != nil {
		return nil, err
	}
	if err := s.download(ctx, f, part); err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return &Content{ReadCloser: part, Archive: true, Base: f.Base, Drop: part.Drop}, nil
}

// tries is how often a download goes on by itself that breaks off.
const tries = 4

// download completes the file. What is not what the index says is thrown away.
func (s web) download(ctx context.Context, f File, part *image.Part) error {
	for try := 1; ; try++ { // the last one without an error completes it, or nothing more comes
		size, err := part.File.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if size >= f.Bytes {
			break
		}
		cmd := s.curl(ctx, f.Name, "--continue-at", fmt.Sprint(size))
		if err = fetch(cmd, part.File, f.Bytes-size); err == nil {
			continue
		}
		now, ended := part.File.Seek(0, io.SeekEnd)
		if try == tries || ctx.Err() != nil || ended != nil {
			return errors.Join(err, ended)
		}
		const noRange = 33 // the server does not continue files
		switch began := cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == noRange; {
		case began && size > 0:
			if err := part.Empty(); err != nil {
				return err
			}
		case now == size: // nothing came
			return err
		}
	}
	if _, err := part.File.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, part.File); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		part.Drop()
		return fmt.Errorf("%s/%s is not the file that the index names: the source has changed meanwhile, or it was damaged on its way", s.url, f.Name)
	}
	_, err := part.File.Seek(0, io.SeekStart)
	return err
}

// fetch runs a program, and writes its output to a file, at most so many bytes.
func fetch(cmd *exec.Cmd, to io.Writer, most int64) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return notInstalled(cmd, err)
	}
	n, err := io.Copy(to, io.LimitReader(out, most))
	if more, _ := io.CopyN(io.Discard, out, 1); err != nil || more > 0 {
		_ = cmd.Process.Kill()
		if err == nil {
			err = fmt.Errorf("%s: more than the %d bytes came that the index names", cmd.Args[0], n)
		}
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = failure(cmd, ended, said.String())
	}
	return err
}

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

// nearest returns the source's version that is here and nearest before the wanted one,
// or else after it; nil: none is here.
func (w Wanted) nearest() (found *Version) {
	for n := range w.Image.Versions {
		v := &w.Image.Versions[n]
		if _, ok := w.Here[v.Digest]; ok && (v.Version < w.Version.Version || found == nil) {
			found = v
		}
	}
	return found
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
