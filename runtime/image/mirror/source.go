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

	"mayfly/runtime/image"
)

// Parse reads the name of a source: ssh://[USER@]HOST[:PORT][/STORE], http:// or https://
// of a published directory, or such a directory's path. spool is the store that the
// images are for, where unfinished downloads are kept.
func Parse(text string, trust Trust, spool *image.Store) (Source, error) {
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
		return parseSSH(text)
	case scheme == "http" || scheme == "https":
		return parseWeb(text, trust, spool)
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

func (d directory) Open(_ context.Context, w Wanted) (io.ReadCloser, error) {
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
	return root.Open(f.Name)
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
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if u.Scheme == "http" && trust.Signers == "" && !trust.Unsigned && !local {
		return nil, fmt.Errorf("source %s: whoever is on the way can change what comes by http://: give the file of allowed signers with --signers, use https://, or say --unsigned", text)
	}
	return web{strings.TrimRight(u.String(), "/"), trust, store}, nil
}

// curl returns a command that gets a file. It gives up where nothing comes for a minute.
func (s web) curl(ctx context.Context, name string, args ...string) *exec.Cmd {
	args = append([]string{"--silent", "--show-error", "--fail", "--location", "--proto", "=http,https", "--proto-redir", "=http,https", "--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60",
		"--retry", "3"}, args...)
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
func (s web) Open(ctx context.Context, w Wanted) (io.ReadCloser, error) {
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
	return part, nil
}

// download completes the file. What is not what the index says is thrown away.
func (s web) download(ctx context.Context, f File, part *image.Part) error {
	size, err := part.File.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < f.Bytes {
		cmd := s.curl(ctx, f.Name, "--continue-at", fmt.Sprint(size), "--max-filesize", fmt.Sprint(f.Bytes))
		cmd.Stdout = part.File
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			const noRange = 33 // the server does not continue files
			if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == noRange && size > 0 {
				if err := part.Empty(); err != nil {
					return err
				}
				return s.download(ctx, f, part)
			}
			if cmd.ProcessState == nil {
				return notInstalled(cmd, err)
			}
			return failure(cmd, err, said.String())
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
	_, err = part.File.Seek(0, io.SeekStart)
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
	r := remote{name: u.Hostname()}
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
func (r remote) Open(ctx context.Context, w Wanted) (io.ReadCloser, error) {
	args := []string{w.Image.Name + "@" + fmt.Sprint(w.Version.Version)}
	base := w.nearest()
	native := w.Streams != nil && (base == nil || w.Streams[base.Digest] == base.StreamID && base.StreamID != "")
	if base != nil {
		args = append(args, "--parent", fmt.Sprint(base.Version))
	}
	if !native {
		args = append(args, "--archive")
	}
	cmd := r.command(ctx, args...)
	p := &sender{cmd: cmd}
	cmd.Stderr = &p.said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, notInstalled(cmd, err)
	}
	p.ReadCloser = out
	return p, nil
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
	io.ReadCloser
	cmd  *exec.Cmd
	said bytes.Buffer
}

// Close waits for the program.
func (p *sender) Close() error {
	_, _ = io.Copy(io.Discard, p.ReadCloser)
	if err := p.cmd.Wait(); err != nil {
		return failure(p.cmd, err, p.said.String())
	}
	return nil
}
